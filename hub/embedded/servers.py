"""The pair of servers as one thing: started, watched, restarted after a crash and stopped in order."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import structlog

from hub.embedded import binaries, folders, postgres, processes, valkey
from hub.embedded.account import server_account
from hub.embedded.errors import EmbeddedError, FolderInUse
from hub.embedded.layout import Layout
from hub.embedded.processes import ServerProcess

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.2  # how soon a crash is noticed
_BACKOFF = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before the nth restart in a row
_HEALTHY_SECONDS = 60.0  # a server that ran this long starts again at the first step
_WAIT_FOR_COMMAND = 60.0  # seconds a command waits for another command on the same folder


class Servers:
    """PostgreSQL and Valkey of one data folder. Blocking calls: run them in a thread from async code."""

    def __init__(
        self, layout: Layout, *, postgres_settings: dict[str, str] | None = None, valkey_mb: int = 256
    ) -> None:
        self.layout = layout
        self._settings = postgres_settings or {}
        self._valkey_mb = valkey_mb
        self._starters: dict[str, Callable[[], ServerProcess]] = {}
        self._running: dict[str, ServerProcess] = {}
        self._crashes: dict[str, int] = {}
        self._held: AbstractContextManager[None] | None = None
        self._changing = threading.Lock()  # a restart after a crash runs in a thread and may meet a stop
        self._stopping = False

    def start(self, *, purpose: str = folders.HUB, with_postgres: bool = True, with_valkey: bool = True) -> None:
        """Take the folder, stop what a killed supervisor left, start the servers; FolderInUse when it is taken."""
        self._stopping = False
        with ExitStack() as undo:
            held = folders.hold(self.layout, purpose=purpose)
            undo.enter_context(held)
            undo.callback(self._stop_servers)
            orphans = processes.stop_orphans([self.layout.postgres_dir, self.layout.valkey_dir])
            if orphans:
                log.warning("orphans_stopped", pids=orphans)
            self._prepare(with_postgres=with_postgres, with_valkey=with_valkey)
            for name in self._starters:
                self._spawn(name)
            undo.pop_all()
            self._held = held

    def _prepare(self, *, with_postgres: bool, with_valkey: bool) -> None:
        account = server_account()
        programs = binaries.usable_by(account)
        folders.prepare(self.layout, account)
        self._starters.clear()
        if with_postgres:
            postgres.create_cluster(self.layout, binaries=programs, account=account)
            self._starters["postgres"] = lambda: postgres.start(
                self.layout, binaries=programs, account=account, settings=self._settings
            )
        if with_valkey:
            self._starters["valkey"] = lambda: valkey.start(
                self.layout, binaries=programs, account=account, memory_mb=self._valkey_mb
            )

    def _spawn(self, name: str) -> None:
        with self._changing:
            if self._stopping:
                return
            if name in self._running:  # what a killed server left would keep the new one from starting
                processes.stop_orphans([self._running[name].start.folder], patience=2.0)
            self._running[name] = self._starters[name]()
            processes.record(self.layout, list(self._running.values()))

    def stop(self) -> None:
        """Stop Valkey, then PostgreSQL, and let the folder go."""
        self._stop_servers()
        if self._held is not None:
            self._held.__exit__(None, None, None)
            self._held = None

    def _stop_servers(self) -> None:
        self._stopping = True
        with self._changing:
            for name in reversed(list(self._running)):
                self._running.pop(name).stop()
            folders.remove_runtime(self.layout)
            self.layout.identity_file.unlink(missing_ok=True)

    def pid(self, name: str) -> int:
        """The process id of `postgres` or `valkey`; KeyError when that is not running."""
        return self._running[name].pid

    def restart(self, name: str) -> None:
        """Stop one server and start it again, as an operator would."""
        self._running[name].stop()
        self._spawn(name)

    async def supervise(self) -> None:
        """Restart servers that end, with back-off, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for name, server in list(self._running.items()):
                if server.exit_code is None:
                    server.trim_log()
                else:
                    await self._revive(name, server)

    async def _revive(self, name: str, server: ServerProcess) -> None:
        lived = time.time() - server.started
        crashes = 0 if lived > _HEALTHY_SECONDS else self._crashes.get(name, 0)
        self._crashes[name] = crashes + 1
        delay = _BACKOFF[min(crashes, len(_BACKOFF) - 1)]
        log.error("server_ended", server=name, exit_code=server.exit_code, restart_in=delay)
        await asyncio.sleep(delay)
        try:
            await asyncio.to_thread(self._spawn, name)
        except (EmbeddedError, OSError) as error:  # tried again at the next look
            log.error("server_restart_failed", server=name, error=str(error))  # noqa: TRY400 - the message has it all


@contextmanager
def running(layout: Layout, *, purpose: str) -> Iterator[None]:
    """Have PostgreSQL of this folder running inside the block: the running hub's, or one started for the block.

    Waits for another command on the same folder; raises FolderInUse when that takes longer than a minute.
    """
    deadline = time.monotonic() + _WAIT_FOR_COMMAND
    own = Servers(layout)
    while True:
        try:
            own.start(purpose=purpose, with_valkey=False)
            break
        except FolderInUse as taken:
            if taken.purpose == folders.HUB and postgres.accepts_connections(layout):
                yield
                return
            if time.monotonic() > deadline:
                raise
        processes.pause()
    try:
        yield
    finally:
        own.stop()
