"""Other programs of the kind, each installed from the registry into a virtualenv of its own under `.bench`."""

import asyncio
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.processes import stop_process
from tests.benchmarks.world import ROOT, Process, World, listener

CACHE = ROOT / ".bench"
UV = ROOT / ".boot" / "bin" / "uv"
INSTALL_SECONDS = 120.0
START_SECONDS = 40.0
_SERVER = ("uvicorn", "uvloop", "httptools", "websockets", "fastapi", "openai==3.52.0")


class PeerMissing(Exception):
    """A peer cannot be installed or started; the message is one line."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One program: what is installed and which of our modules runs it."""

    name: str
    requirements: tuple[str, ...]
    program: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return CACHE / self.name / "bin" / "python"


NONEBOT = Peer("nonebot2", ("nonebot2[fastapi]==2.5.0", "nonebot-adapter-onebot==2.4.6", *_SERVER), "peer_nonebot.py")
AGNO = Peer("agno", ("agno==3.1.10", "sqlalchemy[asyncio]", "python-multipart", *_SERVER), "peer_agno.py")


async def install(peer: Peer) -> None:
    """Make its virtualenv unless it is there with the same requirements. Raises PeerMissing."""
    wanted, mark = "\n".join(peer.requirements), CACHE / peer.name / "requirements.txt"
    if mark.is_file() and mark.read_text() == wanted:
        return
    if not UV.is_file():
        raise PeerMissing(f"{peer.name}: skipped: there is no {UV.relative_to(ROOT)}; run `make install` first")
    CACHE.mkdir(exist_ok=True)
    await _uv(peer, "venv", "--quiet", "--clear", "--python", str(ROOT / ".venv/bin/python"), str(CACHE / peer.name))
    await _uv(peer, "pip", "install", "--quiet", "--python", str(peer.python), *peer.requirements)
    mark.write_text(wanted)


async def _uv(peer: Peer, *arguments: str) -> None:
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "UV_NO_PROGRESS": "1"}
    process = await asyncio.create_subprocess_exec(
        UV, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=environment
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        raise PeerMissing(f"{peer.name}: skipped: not installed within {INSTALL_SECONDS:.0f} s") from None
    finally:
        await stop_process(process)
    if process.returncode:
        raise PeerMissing(f"{peer.name}: skipped: cannot be installed: {_one_line(said)}")


def _one_line(said: bytes) -> str:
    return " ".join(said.decode(errors="replace").split())[:300]


@asynccontextmanager
async def running(peer: Peer, world: World) -> AsyncIterator[tuple[Process, int]]:
    """The peer's process and port, in a folder of its own, until the block ends. Raises PeerMissing."""
    folder = world.folder / peer.name
    folder.mkdir()
    door, log = listener(), folder / "log"
    program = ROOT / "tests" / "benchmarks" / peer.program
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "AGNO_TELEMETRY": "false",
        "LANG": "C.UTF-8",
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            peer.python,
            str(program),
            str(door.fileno()),
            f"http://127.0.0.1:{world.model_port}/v1",
            cwd=folder,
            env=environment,
            pass_fds=[door.fileno()],
            stdout=output,
            stderr=output,
        )
    port = int(door.getsockname()[1])
    door.close()  # the process has it: once that has ended, connections are refused
    try:
        await _answers(peer, process, port, log)
        yield process, port
    finally:
        await stop_process(process)


async def _answers(peer: Peer, process: Process, port: int, log: Path) -> None:
    def ask() -> None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/docs", timeout=START_SECONDS).close()
        except urllib.error.HTTPError:
            return  # any answer will do

    try:
        await asyncio.to_thread(ask)
    except OSError:
        await stop_process(process)
        raise PeerMissing(f"{peer.name}: skipped: does not start: {_one_line(log.read_bytes()[-300:])}") from None
