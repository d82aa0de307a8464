"""What a run needs: a hub in a folder of its own, a scripted model, the load generator, the raw yardstick."""

import asyncio
import base64
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import psycopg

from hub.embedded.layout import Layout
from tests.benchmarks.processes import stop_process

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "whsec_" + base64.b64encode(b"benchmarks need no real secret!!").decode()
EXPECTS = "word0"
_LINE_LIMIT = 1 << 22
# What phases leave behind and the next one must not have to work on.
_ROWS = "session, message, message_key, turn, delivery, event, contact, checkpoint, memory_line, memory_batch, usage"

Process = asyncio.subprocess.Process


async def spawn(
    *arguments: str, env: Mapping[str, str] | None = None, fds: Sequence[int] = (), **pipes: Any
) -> Process:
    """A process of ours: a Python module of this checkout."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        pass_fds=tuple(fds),
        limit=_LINE_LIMIT,
        **pipes,
    )


def listener() -> socket.socket:
    """A listening socket on a free port, to be handed to a server process."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", 0))
    made.listen(4096)
    made.set_inheritable(True)
    return made


class Load:
    """The load generator's process."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port

    @classmethod
    async def start(cls) -> Self:
        """Start it; `port` is where it takes callbacks."""
        pipe = asyncio.subprocess.PIPE
        process = await spawn("tests.benchmarks.load", stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        return cls(process, json.loads(await process.stdout.readline())["port"])

    async def run(self, job: str, **options: Any) -> dict[str, Any]:
        """Do a job and give its figures."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"job": job, **options}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"load {job}: {answer['error']}")
        return answer


class Hub:
    """A `hub up` in a data folder; `ready` is how long it took to its first answer, in seconds."""

    def __init__(self, process: Process, port: int, ready: float) -> None:
        self.process, self.port, self.ready = process, port, ready

    @property
    def pid(self) -> int:
        """Root of its process tree."""
        return self.process.pid


class World:
    """Everything that is started, and ended in reverse by process id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(folder)
        self.rows: dict[str, Any] = {}
        self.load: Load
        self.model: Process
        self.model_port = 0

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["World"]:
        """A fresh folder with generator and model running."""
        folder = Path(tempfile.mkdtemp(prefix="agent-hub-bench-"))
        world = cls(folder)
        started: list[Process] = []
        try:
            world.load = await Load.start()
            started.append(world.load.process)
            world.model = await spawn("tests.support.model_server", stdout=asyncio.subprocess.PIPE)
            started.append(world.model)
            assert world.model.stdout is not None
            world.model_port = json.loads(await world.model.stdout.readline())["port"]
            yield world
        finally:
            for process in reversed(started):
                await stop_process(process)
            shutil.rmtree(folder, ignore_errors=True)
            world.log.unlink(missing_ok=True)

    @property
    def log(self) -> Path:
        """What the hubs said on standard error."""
        return self.folder.with_suffix(".log")

    @property
    def tools(self) -> list[int]:
        """Processes that are neither ours to measure nor foreign."""
        return [self.load.process.pid, self.model.pid]

    def environment(self, **changes: str) -> dict[str, str]:
        """The hub's environment."""
        return {
            "HUB_DATA_DIR": str(self.folder),
            "HUB_LLM_BASE_URL": f"http://127.0.0.1:{self.model_port}/v1",
            "HUB_LLM_MODEL": "scripted",
            "HUB_EGRESS_ALLOW": "127.0.0.0/8",
            "HUB_LOG_LEVEL": "WARNING",
            "HUB_DRAIN": "3",
            "HUB_WORKERS": "1",
            "PORT": "0",
            **changes,
        }

    @asynccontextmanager
    async def hub(self, **changes: str) -> AsyncIterator[Hub]:
        """`hub up`, until the block ends."""
        begun = time.monotonic()
        with self.log.open("ab") as log:
            process = await spawn(
                "hub.cli", "up", "--json", env=self.environment(**changes), stdout=asyncio.subprocess.PIPE, stderr=log
            )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(90):
                line = await process.stdout.readline()
            if not line:
                raise RuntimeError(f"the hub did not start:\n{self.log.read_text()[-3000:]}")
            shown = json.loads(line)
            yield Hub(process, int(shown["address"].rpartition(":")[2]), time.monotonic() - begun)
        finally:
            await stop_process(process, patience=60)

    async def seed(self) -> None:
        """The rows; the database must be up."""
        callback = f"http://127.0.0.1:{self.load.port}/answers"
        pipe = asyncio.subprocess.PIPE
        process = await spawn("tests.benchmarks.seed", callback, SECRET, env=self.environment(), stdout=pipe)
        out, _ = await process.communicate()
        self.rows = json.loads(out.splitlines()[-1])

    def superuser(self) -> "psycopg.Connection[Any]":
        """The database as its superuser."""
        return psycopg.connect(self.layout.dsn("postgres"), autocommit=True)

    def clear(self) -> None:
        """Forget every conversation, and what is reserved for it."""
        with self.superuser() as conn:
            conn.execute(f"TRUNCATE {_ROWS} CASCADE")
            conn.execute("UPDATE quota SET used = 0, reserved = 0")
            conn.execute("CHECKPOINT")

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[tuple[Process, int]]:
        """The raw yardstick's server: process and port."""
        socket_ = listener()
        process = await spawn("tests.benchmarks.raw_app", str(socket_.fileno()), SECRET, fds=[socket_.fileno()])
        try:
            yield process, int(socket_.getsockname()[1])
        finally:
            await stop_process(process)
            socket_.close()
