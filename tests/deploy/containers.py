"""The compose file's services as plain processes: its commands, its environment, servers of the test's own."""

import asyncio
import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from hub.embedded import Layout, Servers
from scripts.deploycheck import compose
from tests.support.patience import PATIENCE
from tests.support.platforms.webhook import FakeProgram

ROOT = Path(__file__).resolve().parents[2]
DRAIN = 5.0
GRACE = 30.0
"""What the compose file gives beyond its drain."""
TOKEN = "a-token-for-metrics"
_QUICK = {"fsync": "off", "full_page_writes": "off"}
# What the image keeps in its own folders and the proxy in front of it cannot be had here.
_HERE = {"HUB_BIND": "127.0.0.1", "PORT": "0", "HUB_WORKERS": "1", "HUB_DRAIN": f"{DRAIN:.0f}"}


@dataclass
class Container:
    """One process of a service."""

    service: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def address(self) -> str:
        """Where it listens; empty until it does."""
        try:
            found = psutil.Process(self.process.pid).net_connections(kind="tcp")
        except psutil.NoSuchProcess:
            return ""
        ports = [one.laddr.port for one in found if one.status == psutil.CONN_LISTEN]
        return f"http://127.0.0.1:{ports[0]}" if ports else ""

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    async def get(self, http: aiohttp.ClientSession, path: str, **headers: str) -> tuple[int, str]:
        """Status and body; 0 while nothing answers."""
        if not (address := self.address):
            return 0, ""
        try:
            async with http.get(address + path, headers=headers) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def ready(self, http: aiohttp.ClientSession, *, seconds: float = 60.0) -> None:
        """Wait for `/health/ready`."""
        deadline = time.monotonic() + seconds
        while (await self.get(http, "/health/ready"))[0] != 200:
            assert self.process.poll() is None, f"{self.service} ended: {self.tail()}"
            assert time.monotonic() < deadline, f"{self.service} is not ready: {self.tail()}"
            await asyncio.sleep(0.1)

    async def metrics(self, http: aiohttp.ClientSession) -> str:
        status, text = await self.get(http, "/metrics", Authorization=f"Bearer {TOKEN}")
        assert status == 200, (self.service, status)
        return text

    def stop(self) -> int:
        """What `docker stop` does; the exit code. Fails where the grace of the compose file would be used up."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=DRAIN + GRACE)


@dataclass
class Machine:
    """Where the containers would run."""

    folder: Path
    layout: Layout
    settings: dict[str, str] = field(default_factory=dict)
    started: list[Container] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """What the containers have as /var/lib/hub."""
        return self.folder / "hub"

    def service(self, name: str) -> Mapping[str, Any]:
        """A service of the compose file with its variables filled in."""
        key = base64.b64encode(b"k" * 32).decode()
        given = {**compose.filled(), "HUB_MASTER_KEY": key, "HUB_METRICS_TOKEN": TOKEN}
        given |= dict.fromkeys(("HUB_LLM_BASE_URL", "HUB_LLM_API_KEY", "HUB_LLM_MODEL"), "")
        found: Mapping[str, Any] = compose.document({**given, "HUB_EGRESS_ALLOW": "127.0.0.0/8"})["services"][name]
        return found

    def environment(self, name: str) -> dict[str, str]:
        """The service's variables, with the servers' real addresses in place of the network's names."""
        wanted = {key: str(value) for key, value in self.service(name)["environment"].items()}
        places = {
            "HUB_DATABASE_URL": self.layout.login_dsn,
            "HUB_DATABASE_OWNER_URL": self.layout.owner_dsn,
            "HUB_REDIS_URL": self.layout.redis_url,
        }
        wanted |= {key: value for key, value in places.items() if key in wanted}
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        return {**kept, **wanted, **_HERE, "HUB_DATA_DIR": str(self.data), **self.settings}

    def command(self, name: str) -> list[str]:
        """`hub` with the service's command."""
        words = [word.replace(_SUPERUSER, self.layout.superuser_dsn) for word in self.service(name)["command"]]
        return [sys.executable, "-m", "hub.cli", *words]

    def once(self, name: str) -> None:
        """A service that ends by itself."""
        done = subprocess.run(
            self.command(name),
            check=False,
            cwd=ROOT,
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, (name, done.stderr[-3000:])

    def doctor(self, service: str, address: str) -> dict[str, Mapping[str, Any]]:
        """What `hub doctor` finds in a service's container when this address is taken, by what it is about."""
        port = {"PORT": address.rpartition(":")[2]}
        done = subprocess.run(
            [sys.executable, "-m", "hub.cli", "doctor", "--json"],
            check=False,
            cwd=ROOT,
            env={**self.environment(service), **port},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.stdout, done.stderr[-3000:]
        return {one["name"]: one for one in json.loads(done.stdout)["findings"]}

    def start(self, name: str) -> Container:
        """A service that stays."""
        return self.run(name, self.command(name), self.environment(name))

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Container:
        """Any process of the hub."""
        path = self.folder / f"{name}-{len(self.started)}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.started.append(Container(name, process, path))
        return self.started[-1]

    def plant(self, program: FakeProgram) -> str:
        """A tenant with an agent and a connection to this program; the webhook's path."""
        hook = {"channel": "webhook", "credentials": program.credentials()}
        agent = {"policy": {"enabled": False}}
        wanted = {"tenant": f"t{secrets.token_hex(4)}", "agent": agent, "connections": {"hook": hook}}
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.plant"],
            check=False,
            input=json.dumps(wanted),
            cwd=ROOT,
            env=self.environment("gateway"),
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        row = json.loads(done.stdout.splitlines()[-1])["connections"]["hook"]
        return f"/webhooks/webhook/{row['public_id']}"


_SUPERUSER = "postgresql://postgres:x@postgres:5432/postgres"


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Servers as the compose file has them, empty; whatever was started ends with the block."""
    layout = Layout(folder / "servers")
    servers = Servers(layout, postgres_settings=_QUICK, valkey_mb=64)
    servers.start(purpose="tests")
    found = Machine(folder, layout)
    try:
        yield found
    finally:
        for one in found.started:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait(timeout=10)
        servers.stop()


async def answered(gateway: Container, path: str, program: FakeProgram, http: aiohttp.ClientSession, text: str) -> str:
    """Send a signed webhook; the answer that the program got."""
    number = len(program.calls) + 1
    body = program.said(text, number=number, conversation=text)
    headers = program.sign(body, now=time.time(), headers={"webhook-id": f"msg_{secrets.token_hex(4)}"})
    async with http.post(gateway.address + path, data=body, headers=headers) as answer:
        assert answer.status < 300, await answer.text()
    deadline = time.monotonic() + PATIENCE
    while not program.shown(text):
        assert time.monotonic() < deadline, "no answer"
        await asyncio.sleep(0.05)
    return program.shown(text)[0]
