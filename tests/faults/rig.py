"""A real hub as processes: own data folder with PostgreSQL and Valkey, gateways, runners; the world around it is ours.

`Stack` is the folder with its servers and outlives many `Rig`s. A `Rig` is one tenant with its processes, a scripted
model server and a receiving program; it ends every process that it started.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import aiohttp
import psycopg
from aiohttp import web

from hub.cli.celery_line import celery_line
from hub.embedded import Layout, Servers
from hub.env import env
from tests.faults.outcome import Dose
from tests.support.model_plans import Plan
from tests.support.model_server import ModelServer
from tests.support.platforms.base import FakePlatform
from tests.support.platforms.webhook import FakeProgram

if TYPE_CHECKING:
    from tests.faults.driver import Driver

ROOT = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 3.0
_NO_SESSION = UUID(int=0)
_QUICK = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "1GB"}


class Stack:
    """A data folder with its servers, ready for hub processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(folder / "data")
        self.servers = Servers(self.layout, postgres_settings=_QUICK, valkey_mb=64)
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.servers.start()
        try:
            self.call("hub.cli.prepare")
        except BaseException:
            self.servers.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.servers.stop()

    @property
    def environment(self) -> dict[str, str]:
        """For processes of this hub; nothing of the caller's HUB_ variables leaks in."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("HUB_") and k not in ("PORT", "PYTHONPATH")}
        return {
            **clean,
            "PYTHONPATH": str(ROOT),
            "HUB_DATA_DIR": str(self.layout.data_dir),
            "HUB_LEASE_SECONDS": str(LEASE_SECONDS),
            "HUB_EGRESS_ALLOW": "127.0.0.0/8",
            "HUB_LOG_FORMAT": "json",
            "HUB_DRAIN": "5",
            "DJANGO_SETTINGS_MODULE": "hub.settings",
        }

    def call(self, module: str, value: object = None) -> Any:
        """Run a module to its end; its last line as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", module],
            check=False,
            input=json.dumps(value),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{module} failed: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def dsn(self) -> str:
        """The hub's database as its superuser: the checker sees everything."""
        return self.layout.dsn("postgres")

    def restart_postgres(self, *, down: float = 0.0) -> None:
        """An immediate stop, as a power cut is to it; `down` seconds of absence; a start with recovery."""
        self._end("postgres", signal.SIGQUIT)
        time.sleep(down)
        self.servers.restart("postgres")

    def restart_valkey(self, *, down: float = 0.0) -> None:
        """Kill it and start an empty one."""
        self._end("valkey", signal.SIGKILL)
        time.sleep(down)
        self.servers.restart("valkey")

    def _end(self, name: str, sign: signal.Signals) -> None:
        server = self.servers._running[name]
        os.kill(server.pid, sign)
        deadline = time.monotonic() + 20
        while server.exit_code is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} did not end")
            time.sleep(0.01)


@dataclass(slots=True)
class Node:
    """One process of the hub."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    port: int = 0
    up: bool = False
    """It has started: a balancer asks no process before."""
    leaving: bool = False
    """It was asked to end, and its balancer has learnt that."""

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """As the kernel kills: no farewell."""
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self, seconds: float = 15.0) -> None:
        """Ask to stop; kill after `seconds`."""
        if self.alive:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    @property
    def started(self) -> bool:
        """Whether its log says so, somewhere in its beginning."""
        with self.log.open("rb") as log:
            return b"runtime_started" in log.read(200_000)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One callback as the program understood it. `at` on the monotonic clock."""

    delivery: str
    conversation: str
    answers: tuple[str, ...]
    text: str
    part: int
    at: float


class Program(FakeProgram):
    """The receiving program, with a ledger of what it was told and when."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        before = len(self.calls)
        done = await super().answer(request)
        for call in self.calls[before:]:
            if call.method == "message":
                data = call.body["data"]
                self.seen.append(
                    Seen(
                        delivery=request.headers["webhook-id"],
                        conversation=data["conversation"],
                        answers=tuple(data["in_reply_to_all"]),
                        text=data["text"],
                        part=data["sequence"],
                        at=time.monotonic(),
                    )
                )
        return done


@dataclass(slots=True)
class Planted:
    """The rig's rows."""

    tenant: UUID
    connections: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far the ledgers were compared: everything up to the newest session, callback, model call and driver."""

    session: UUID = _NO_SESSION
    shown: int = 0
    calls: int = 0
    drivers: int = 0


@dataclass(slots=True)
class Rig:
    """One tenant, its processes, and the world around them."""

    stack: Stack
    plan: Plan = field(default_factory=lambda: Plan(kind="echo", first_delay=0.12))
    platforms: Mapping[str, FakePlatform] = field(default_factory=dict)
    """More connections by name, each with the platform behind it; started and stopped with the rig."""
    policy: Mapping[str, Any] = field(default_factory=lambda: {"enabled": False})
    """The agent's memory settings."""
    tools: Sequence[str] = ()
    """The agent's tools."""
    model: ModelServer = field(init=False)
    program: Program = field(init=False)
    planted: Planted = field(init=False)
    http: aiohttp.ClientSession = field(init=False)
    nodes: list[Node] = field(default_factory=list)
    drivers: "list[Driver]" = field(default_factory=list)
    checked: Mark = field(default_factory=Mark)
    _count: int = 0

    async def __aenter__(self) -> Self:
        self.model = await ModelServer(self.plan).__aenter__()
        self.program = await Program().__aenter__()
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        hook = {"channel": "webhook", "credentials": self.program.credentials()}
        chat = {"channel": "web", "credentials": {}}
        for platform in self.platforms.values():
            await platform.__aenter__()
        more = {
            name: {"channel": platform.slug, "credentials": platform.credentials()}
            for name, platform in self.platforms.items()
        }
        # Recall would make the first turns of a new folder wait for the sentence model, which is no fault.
        agent = {"policy": dict(self.policy), "tools": list(self.tools)}
        wanted = {
            "tenant": f"t{secrets.token_hex(6)}",
            "agent": agent,
            "connections": {"hook": hook, "chat": chat, **more},
        }
        made = await asyncio.to_thread(self.stack.call, "tests.faults.plant", wanted)
        self.planted = Planted(UUID(made["tenant"]), made["connections"])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop_all()
        finally:
            await self.http.close()
            for platform in (self.program, *self.platforms.values()):
                await platform.__aexit__(None, None, None)
            await self.model.__aexit__(None, None, None)

    async def stop_all(self) -> None:
        """End every process; what is asserted about a polite end is asserted before."""
        for node in self.nodes:
            node.kill()

    def path(self, name: str = "hook") -> str:
        """The webhook path of a connection."""
        row = self.planted.connections[name]
        return f"/webhooks/{row['channel']}/{row['public_id']}"

    async def gateway(self, *, role: str = "gateway", crash_at: str = "", wait: bool = True) -> Node:
        """Start a gateway; with role `all` it runs turns too."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1024)
            node = self._spawn("hub.cli.web", role=role, crash_at=crash_at, listener=listener)
        if wait:
            await self.ready(node)
        return node

    async def runner(self, *, crash_at: str = "", wait: bool = True) -> Node:
        """Start a runner."""
        node = self._spawn("hub.runner", role="runner", crash_at=crash_at)
        if wait:
            await self.ready(node)
        return node

    async def worker(self) -> Node:
        """Start a Celery worker."""
        arguments = ["--quiet", "--app=hub.celery", "worker", "--pool=solo", "--without-gossip", "--without-mingle"]
        return self._spawn("celery", arguments=arguments, role="worker", crash_at="")

    async def beat(self) -> Node:
        """Start the process that sends periodic tasks."""
        arguments = ["--quiet", "--app=hub.celery", *celery_line("beat", env())]
        return self._spawn("celery", arguments=arguments, role="beat", crash_at="")

    async def ready(self, node: Node, *, seconds: float = 30.0) -> None:
        """Wait until the process has started, which its log tells."""
        await wait_until(lambda: node.started or not node.alive, seconds=seconds, what=node.name)
        if not node.alive:
            raise RuntimeError(f"{node.name} ended at its start: {node.tail()}")
        node.up = True

    def _spawn(
        self,
        module: str,
        *,
        role: str,
        crash_at: str,
        listener: socket.socket | None = None,
        arguments: Sequence[str] = (),
    ) -> Node:
        descriptors = () if listener is None else (listener.fileno(),)
        port = 0 if listener is None else int(listener.getsockname()[1])
        self._count += 1
        name = f"{role}{self._count}"
        environment = {
            **self.stack.environment,
            "HUB_ROLE": role,
            "HUB_LLM_BASE_URL": self.model.url,
            "HUB_LLM_MODEL": "scripted",
            "PORT": str(port),
        }
        if crash_at:
            environment["HUB_CRASH_AT"] = crash_at
        path = self.stack.logs / f"{self.planted.tenant.hex[-8:]}-{name}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "hub.cli.child", str(os.getpid()), module, *map(str, descriptors), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
                pass_fds=descriptors,
            )
        node = Node(name, process, path, port)
        self.nodes.append(node)
        return node

    async def have(self, *, gateways: int = 1, runners: int = 1, role: str = "gateway") -> None:
        """Start what is missing of so many living gateways (of this role) and runners."""
        missing = gateways - len(self.gateways())
        starts = [self.gateway(role=role) for _ in range(missing)]
        await asyncio.gather(*starts, *(self.runner() for _ in range(runners - len(self.runners()))))

    def drive(self, dose: Dose, **options: Any) -> "Driver":
        """A driver of new conversations; the checker will ask for all that it sends."""
        from tests.faults.driver import Driver

        prefix = f"d{len(self.drivers)}-"
        driver = Driver(self, dose.messages, dose.conversations, dose.rate, prefix=prefix, **options)
        self.drivers.append(driver)
        return driver

    def runners(self) -> list[Node]:
        """The living processes that only run turns."""
        return [node for node in self.nodes if node.name.startswith("runner") and node.alive and not node.leaving]

    def gateways(self) -> list[Node]:
        """Those that a balancer would ask."""
        return [node for node in self.nodes if node.port and node.up and node.alive and not node.leaving]

    async def post(self, node: Node, body: bytes, headers: Mapping[str, str], *, name: str = "hook") -> int:
        """Post a webhook; its status, 0 where there was no answer."""
        url = f"http://127.0.0.1:{node.port}{self.path(name)}"
        try:
            async with self.http.post(url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(total=10)) as done:
                await done.read()
                return done.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    async def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows as the superuser sees them; waits out a database that is starting."""
        return await asyncio.to_thread(self._rows, statement, values)

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        deadline = time.monotonic() + 20
        while True:
            try:
                with psycopg.connect(self.stack.dsn(), autocommit=True, connect_timeout=5) as conn:
                    return conn.execute(statement.encode(), values).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    async def quiet(self, *, seconds: float = 60.0) -> float:
        """Wait until nothing of the tenant is under way; how long that took."""
        began = time.monotonic()
        while left := await self.rows(_OPEN, *[self.planted.tenant] * 2):
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"still under way after {seconds:.0f} s: {left[:8]}")
            await asyncio.sleep(0.1)
        return time.monotonic() - began


_OPEN = """
SELECT 'session', id::text, due_turns, unsettled, turn_id::text, (due_at - now())::text, lease_owner::text FROM session
WHERE tenant_id = %s AND (turn_id IS NOT NULL OR due_turns > 0)
UNION ALL
SELECT 'delivery ' || status, id::text, attempts, position, detail, (due_at - now())::text, lease_owner::text
FROM delivery WHERE tenant_id = %s AND status IN ('pending', 'retry', 'sending', 'live')
LIMIT 50
"""


async def wait_until(true: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Look every 50 ms until it is so. Raises TimeoutError naming what did not happen."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.05)


def new_folder() -> Path:
    """A private folder for a stack."""
    return Path(tempfile.mkdtemp(prefix="agent-hub-faults-"))
