"""Real gateways in processes of their own (uvicorn and Daphne), a scripted model server, and a tenant per test."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 60.0


@dataclass(slots=True)
class Gateway:
    kind: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


def get(url: str, timeout: float = 5.0) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextmanager
def running(kind: str, folder: Path, model_url: str, **changes: str) -> Iterator[Gateway]:
    """A gateway that runs turns too, on a free port, until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "PORT": str(port),
        "HUB_EGRESS_ALLOW": "127.0.0.0/8",
        "HUB_LLM_BASE_URL": model_url,
        "HUB_LLM_MODEL": "scripted",
        "HUB_LOG_LEVEL": "INFO",
        "HUB_DRAIN": "20",
        **changes,
    }
    log = folder / f"{kind}-{port}.log"
    command = [sys.executable, "-m", "tests.edges.serve", kind, str(listener.fileno())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=[listener.fileno()], stdout=output, stderr=output
        )
    listener.close()
    try:
        _await(process, f"http://127.0.0.1:{port}/health/ready", log)
        yield Gateway(kind, port, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)


def _await(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if get(url)[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the gateway did not start: {log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    """A scripted model server; markers in the messages choose its plans."""
    command = [sys.executable, "-m", "tests.support.model_server", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield orjson.loads(process.stdout.readline())["url"]
        process.terminate()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateways")


@pytest.fixture(scope="session")
def gateways(database: Any, redis_url: str, model_url: str, folder: Path) -> Iterator[Callable[[str], Gateway]]:
    """A gateway of a kind, shared by the tests until one of them asks for a clean database."""
    yield lambda kind: database.standing.get(kind, lambda: running(kind, folder, model_url), model_url=model_url)
    database.standing.close()


@pytest.fixture
def uvicorn_gateway(gateways: Callable[[str], Gateway]) -> Gateway:
    return gateways("uvicorn")


@pytest.fixture
def daphne_gateway(gateways: Callable[[str], Gateway]) -> Gateway:
    return gateways("daphne")


@pytest.fixture(params=["uvicorn", "daphne"])
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """Both servers pass the same tests."""
    return request.getfixturevalue(f"{request.param}_gateway")  # type: ignore[no-any-return]


def apart(work: Callable[[], Any]) -> Any:
    """Django's synchronous calls, out of the test's event loop."""

    def done() -> Any:
        from django.db import connections

        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(done).result()


@dataclass(slots=True)
class House:
    """A tenant with an agent."""

    tenant_id: UUID
    agent_id: UUID
    agent: str
    connections: dict[str, str] = field(default_factory=dict)

    def key(self, *scopes: str) -> Any:
        from tenants import keys

        return apart(lambda: keys.issue(self.tenant_id, scopes=scopes or ("chat",)).key)

    def run(self, work: Callable[[], Any]) -> Any:
        """Do something with Django's models as this tenant."""
        from tenants.context import tenant_scope

        def scoped() -> Any:
            with tenant_scope(self.tenant_id):
                return work()

        return apart(scoped)

    def connect(self, channel: str, *, origins: tuple[str, ...] = (), **credentials: Any) -> str:
        """A connection's public id."""
        return str(self.connect_row(channel, origins=origins, **credentials).public_id)

    def connect_row(self, channel: str, *, origins: tuple[str, ...] = (), **credentials: Any) -> Any:
        from django.conf import settings

        from hub.models import Connection
        from hub.pipeline.connections import seal_credentials
        from tenants.crypto import MasterKeys, Vault

        vault = Vault(MasterKeys(*settings.HUB_ENV.master_keys()), None)
        row = Connection(tenant_id=self.tenant_id, channel=channel, name=channel, agent_id=self.agent_id)
        row.allowed_origins = list(origins)

        def save() -> None:
            seal_credentials(vault, row, credentials)
            row.save(force_insert=True)

        self.run(save)
        return row


@pytest.fixture
def house(database: Any) -> House:
    return apart(_house)  # type: ignore[no-any-return]


def _house() -> House:
    from agents.models import Agent
    from tenants.context import tenant_scope
    from tenants.plans import create_tenant

    slug = f"t{secrets.token_hex(5)}"
    tenant = create_tenant(slug, slug, plan="enterprise")
    with tenant_scope(tenant.id):
        agent = Agent(tenant=tenant, name="helper")
        agent.save(force_insert=True)
    return House(tenant.id, agent.id, "helper")
