"""What processes cost, read from /proc: CPU of a process tree, resident memory, and what the machine did besides."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
PROCESSORS = os.cpu_count() or 1
_PROC = Path("/proc")


def tree(roots: Iterable[int]) -> set[int]:
    """The processes `roots` and everything below them."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = set[int](), list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, ())
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name; None when the process has ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of living processes, with that of their children that ended."""
    total = 0
    for pid in pids:
        fields = _stat(pid)
        if fields is not None:
            total += sum(int(fields[index]) for index in (11, 12, 13, 14))
    return total * TICK


def resident_kb(pid: int) -> int:
    """Resident memory of one process."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def command(pid: int) -> str:
    """The command line, or nothing when the process has ended."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _busy_seconds() -> float:
    fields = [int(value) for value in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) * TICK


@dataclass(slots=True)
class Cost:
    """One window: seconds, CPU of the measured processes by group, and of the rest of the machine, in seconds."""

    seconds: float
    groups: dict[str, float]
    foreign: float

    @property
    def cpu(self) -> float:
        """CPU of everything measured."""
        return sum(self.groups.values())

    @property
    def foreign_percent(self) -> float:
        """What others used, 100 being one processor."""
        return 100.0 * self.foreign / self.seconds


class Meter:
    """Measures one window: `start`, work, `stop`. `ours` is counted; `tools` (generator, model) are only not foreign.

    A process group is named by what its root does; PostgreSQL's and Valkey's are told from the hub's by command.
    """

    def __init__(self, ours: Iterable[int], tools: Iterable[int]) -> None:
        self._ours, self._tools = tuple(ours), (*tools, os.getpid())

    def _read(self) -> tuple[float, dict[str, float], float, float]:
        tools = {pid for root in self._tools for pid in ([root] if root == os.getpid() else tree([root]))}
        ours = tree(self._ours) - {os.getpid()}
        groups: dict[str, float] = {}
        for pid in ours:
            name = _group(command(pid))
            groups[name] = groups.get(name, 0.0) + cpu_seconds([pid])
        return time.monotonic(), groups, cpu_seconds(tools), _busy_seconds()

    def start(self) -> None:
        """Begin the window."""
        self._begun = self._read()

    def stop(self) -> Cost:
        """End the window."""
        then, groups, tools, busy = self._begun
        now, groups2, tools2, busy2 = self._read()
        spent = {name: max(0.0, value - groups.get(name, 0.0)) for name, value in groups2.items()}
        foreign = (busy2 - busy) - sum(spent.values()) - (tools2 - tools)
        return Cost(now - then, spent, max(0.0, foreign))


def _group(line: str) -> str:
    if "postgres" in line and "python" not in line:
        return "postgres"
    if "valkey" in line and "python" not in line:
        return "valkey"
    if "hub.cli.web" in line or "uvicorn" in line:
        return "web"
    return "celery" if "celery" in line else "other"


async def stop_process(process: "asyncio.subprocess.Process", *, patience: float = 15.0) -> None:
    """Ask a process of ours to end, then end it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def kill_quietly(process: subprocess.Popen[bytes]) -> None:
    """As `stop_process` for a plain one."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
