"""Server processes: one of ours while it runs, and those that a killed supervisor left behind."""

import json
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from hub.embedded.account import Account
from hub.embedded.errors import ServerFailed
from hub.embedded.layout import Layout

_PROGRAMS = frozenset({"postgres", "valkey-server"})
_LOG_LIMIT = 10 * 1024 * 1024  # bytes; a log is emptied past this, it is for looking at, not for keeping
_POLL = 0.02  # seconds between two looks at a starting or stopping process


@dataclass(frozen=True, slots=True)
class Start:
    """How a server is started and asked to stop."""

    name: str
    command: Sequence[str | Path]
    folder: Path
    log: Path
    stop_signal: signal.Signals
    pass_fds: tuple[int, ...] = ()


class ServerProcess:
    """One server that we are the parent of."""

    def __init__(self, start: Start, *, account: Account) -> None:
        self.start = start
        log = start.log.open("ab")
        with log:
            self._process = subprocess.Popen(
                start.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=start.folder,  # entered before the account changes, so folders above may be closed to it
                env={"PATH": "/usr/bin:/bin", "TZ": "UTC", "LC_ALL": "C"},
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor, which stops us in order
                pass_fds=start.pass_fds,
                **account.spawn,
            )
        self.identity = psutil.Process(self._process.pid)
        self.started = self.identity.create_time()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; reaps it when it has ended."""
        return self._process.poll()

    def stop(self, *, patience: float = 30.0) -> None:
        """Ask it to stop, ask harder after `patience` seconds, kill it after that."""
        for sign, seconds in ((self.start.stop_signal, patience), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            if self.exit_code is not None:
                return
            self._process.send_signal(sign)
            try:
                self._process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                continue

    def failed(self) -> ServerFailed:
        """The error for a server that ended while it should run, with the end of its log."""
        return ServerFailed(
            "{name} ended with code {code}: {log}", name=self.start.name, code=self.exit_code, log=tail(self.start.log)
        )

    def trim_log(self) -> None:
        """Empty the log when it is past its limit; it is open for appending, so the server goes on at its start."""
        if self.start.log.stat().st_size > _LOG_LIMIT:
            with self.start.log.open("r+b") as log:
                log.truncate(0)


def pause() -> None:
    """Wait a moment between two looks at a starting server."""
    time.sleep(_POLL)


def tail(log: Path, *, lines: int = 5) -> str:
    """The last lines of a log, joined into one."""
    if not log.exists():
        return "it left no log"
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return " | ".join(line.strip() for line in text) or "it left an empty log"


def record(layout: Layout, servers: Sequence[ServerProcess]) -> None:
    """Write down who serves the data folder, replacing the file in one step."""
    entries = [
        {"name": s.start.name, "pid": s.pid, "started": s.started, "folder": str(s.start.folder)} for s in servers
    ]
    draft = layout.identity_file.with_suffix(".draft")
    draft.write_text(json.dumps(entries))
    draft.replace(layout.identity_file)


def recorded(layout: Layout) -> list[dict[str, object]]:
    """What the identity file says, with `alive`; a missing or torn file says nothing."""
    try:
        entries = json.loads(layout.identity_file.read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [{**entry, "alive": _same(int(entry["pid"]), float(entry["started"]))} for entry in entries]


def _same(pid: int, started: float) -> bool:
    """Whether `pid` is still the process that was started then; pids are reused."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop_orphans(folders: Iterable[Path], *, patience: float = 30.0) -> list[int]:
    """Stop servers working in these folders whose parent is gone; call it only while holding the data folder.

    A server is known by its program and its working folder, which the kernel reports: that also finds one that was
    killed before its pid could be written down, and the backends of a postmaster that was killed alone.
    """
    orphans = _serving({str(folder) for folder in folders})
    # The parent first: a postmaster ends its backends, a backend ended alone makes it restart them.
    pids = {process.pid for process in orphans}
    heads = [process for process in orphans if _parent(process) not in pids]
    for group, sign, seconds in (
        (heads, signal.SIGINT, patience),
        (orphans, signal.SIGQUIT, 5.0),
        (orphans, signal.SIGKILL, 5.0),
    ):
        for process in group:
            _signal(process, sign)
        _, orphans = psutil.wait_procs(orphans, timeout=seconds)
        if not orphans:
            break
    return sorted(pids)


def _serving(folders: set[str]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] not in _PROGRAMS:
            continue
        try:
            if process.cwd() in folders and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone, or another user's and so not ours
    return found


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def _signal(process: psutil.Process, sign: signal.Signals) -> None:
    try:
        process.send_signal(sign)
    except psutil.NoSuchProcess:
        return  # it ended by itself
