"""Our own processes under `hub up`: started, restarted with back-off when they end, stopped in order."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger(__name__)

_BACKOFF = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before the nth restart in a row
_HEALTHY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Child:
    """A Python module that runs as a process of its own; `patience` is how long it may take to stop, in seconds."""

    name: str
    module: str
    arguments: Sequence[str] = ()
    patience: float = 30.0
    environment: Mapping[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()

    @property
    def command(self) -> list[str]:
        """How it is started."""
        return [sys.executable, "-m", "hub.cli.child", str(os.getpid()), self.module, *self.arguments]


class Children:
    """The running children in the order they were started; they are stopped in the same order."""

    def __init__(self) -> None:
        self._specs: list[Child] = []
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._hurry = asyncio.Event()
        self._stopping = asyncio.Event()

    async def start(self, child: Child) -> None:
        """Start a child and keep it running."""
        self._specs.append(child)
        await self._spawn(child)
        self._watchers.append(asyncio.create_task(self._keep(child), name=f"keep-{child.name}"))

    async def _spawn(self, child: Child) -> None:
        self._processes[child.name] = await asyncio.create_subprocess_exec(
            *child.command,
            stdin=asyncio.subprocess.DEVNULL,
            env=dict(child.environment),
            pass_fds=child.pass_fds,
            start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops the children in order
        )

    async def _keep(self, child: Child) -> None:
        crashes = 0
        while True:
            started = time.monotonic()
            code = await self._processes[child.name].wait()
            if self._stopping.is_set():
                return
            crashes = 0 if time.monotonic() - started > _HEALTHY_SECONDS else crashes
            delay = _BACKOFF[min(crashes, len(_BACKOFF) - 1)]
            crashes += 1
            log.error("child_ended", child=child.name, exit_code=code, restart_in=delay)
            await asyncio.sleep(delay)
            if self._stopping.is_set():
                return
            await self._spawn(child)

    def pid(self, name: str) -> int:
        """The process id of a child."""
        return self._processes[name].pid

    def hurry(self) -> None:
        """Skip what is left of the drain: a person asked twice."""
        self._hurry.set()

    async def stop(self) -> None:
        """Stop all children, one after another, each within its patience."""
        self._stopping.set()
        for child in self._specs:
            await self._stop(child)
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _stop(self, child: Child) -> None:
        process = self._processes[child.name]
        if process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        ended = asyncio.create_task(process.wait())
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({ended, hurry}, timeout=child.patience, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not ended.done():
            log.warning("child_killed", child=child.name, after=child.patience)
            _kill_session(process.pid)
        await ended


def _kill_session(leader: int) -> None:
    """Kill the child and what it started; it leads its own process group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself
