"""deploy/compose.yaml, started as operations.md says, with a model outside it that the test scripts."""

import asyncio
import json
import re
import secrets
import socket
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from scripts.deploycheck import compose
from tests.image import docker
from tests.support.patience import PATIENCE
from tests.support.platforms.webhook import FakeProgram

ONCE = ("init", "migrate")
"""Services that end by themselves."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A compose project of its own, asked through the engine and through the proxy's ports."""

    folder: Path
    name: str
    settings: Mapping[str, str]
    host: str
    """The address under which containers find this machine."""
    administrator: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.settings["HUB_PUBLIC_URL"]

    def compose(self, *words: str, codes: Sequence[int] = (0,)) -> str:
        """Standard output of `docker compose …`."""
        return docker.run(*self._compose, *words, seconds=300, codes=codes)

    @property
    def _compose(self) -> list[str]:
        files = ["--file", str(compose.FILE), "--file", str(self.folder / "override.yaml")]
        return ["compose", *files, "--env-file", str(self.folder / ".env"), "--project-name", self.name]

    def up(self) -> float:
        """Start everything and wait until it is healthy; the seconds it took."""
        begun = time.monotonic()
        try:
            self.compose("up", "--detach", "--wait")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('logs', '--no-color', '--tail', '25')[-12_000:]}") from None
        return time.monotonic() - begun

    def containers(self, *services: str) -> dict[str, dict[str, Any]]:
        """What the engine knows of each container, by the container's name."""
        names = self.compose("ps", "--all", "--quiet", *services).split()
        return {found["Name"].lstrip("/"): found for found in map(docker.inspect, names)}

    def inside(self, service: str, *command: str, codes: Sequence[int] = (0,)) -> str:
        """What a command says in a running container."""
        return self.compose("exec", "--no-TTY", service, *command, codes=codes)

    def hub(self, service: str, *words: str) -> Any:
        """`hub … --json` in a running container."""
        return json.loads(self.inside(service, "hub", *words, "--json", codes=(0, 1)))

    def demo(self) -> None:
        """The demo tenant and the first administrator, as operations.md makes them."""
        made = json.loads(self.compose("run", "--rm", "--no-TTY", "migrate", "migrate", "--demo", "--json"))
        self.administrator.update(username=made["demo"]["user"], password=made["demo"]["password"])

    def connect(self, credentials: Mapping[str, str]) -> str:
        """A webhook connection of the demo's agent; the path of its webhooks."""
        to = ["--tenant", "demo", "--agent", "assistant", "--name", f"n{secrets.token_hex(3)}"]
        sets = [word for key, value in credentials.items() for word in ("--set", f"{key}={value}")]
        return str(self.hub("gateway", "connection", "create", "webhook", *to, *sets)["webhook_path"])

    def metrics(self, role: str) -> str:
        """What a container exposes to who has the token."""
        token = f"'Authorization': 'Bearer {self.settings['HUB_METRICS_TOKEN']}'"
        asked = f"r.Request('http://127.0.0.1:8000/metrics', headers={{{token}}})"
        code = f"import urllib.request as r; print(r.urlopen({asked}).read().decode())"
        return self.inside(role, "python", "-c", code)

    def megabytes(self, role: str) -> float:
        """What the processes of a container hold, shared pages counted once."""
        code = (
            "import os, psutil; others = (p for p in psutil.process_iter() if p.pid != os.getpid());"
            "print(sum(p.memory_full_info().pss for p in others))"
        )
        return float(self.inside(role, "python", "-c", code)) / 1e6

    async def probed(self, role: str, command: Sequence[str], *, well: bool) -> None:
        """Wait until the image's own probe, in a container of this role, succeeds or fails."""
        deadline = time.monotonic() + PATIENCE
        while (await asyncio.to_thread(docker.succeeds, *self._compose, "exec", "--no-TTY", role, *command)) != well:
            assert time.monotonic() < deadline, (role, "still well" if not well else self.compose("logs", role))
            await asyncio.sleep(0.2)

    async def restarted(self, role: str) -> float:
        """Seconds from a container's start until it is ready."""
        name = next(iter(self.containers(role)))
        await asyncio.to_thread(docker.run, "restart", name)
        found = docker.inspect(name)
        network = found["NetworkSettings"]["Networks"][f"{self.name}_outside"]["IPAddress"]
        deadline = time.monotonic() + PATIENCE
        async with aiohttp.ClientSession(f"http://{network}:8000") as http:
            while not await _ready(http):
                assert time.monotonic() < deadline, (role, self.compose("logs", "--tail", "20", role))
                await asyncio.sleep(0.02)
        begun = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", found["State"]["StartedAt"]))
        return (datetime.now(UTC) - begun).total_seconds()

    def session(self) -> aiohttp.ClientSession:
        """A client that trusts the authority which the proxy made for localhost."""
        trust = ssl.create_default_context(
            cadata=self.inside("proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
        )
        limit = aiohttp.ClientTimeout(total=PATIENCE * 3)
        return aiohttp.ClientSession(self.address, timeout=limit, connector=aiohttp.TCPConnector(ssl=trust))


async def _ready(http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get("/health/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@contextmanager
def stack(folder: Path, hub: str, images: Mapping[str, str]) -> Iterator[Stack]:
    """The project, not yet started; all of it is gone afterwards, volumes too."""
    host = str(docker.inspect("bridge")["IPAM"]["Config"][0]["Gateway"])
    with _model(host) as model:
        port = free_port()
        settings = {
            **{name: secrets.token_urlsafe(24) for name, value in compose.example().items() if not value},
            "HUB_MASTER_KEY": b64encode(secrets.token_bytes(32)).decode(),
            "HUB_PUBLIC_URL": f"https://localhost:{port}",
            "HTTPS_PORT": str(port),
            "HTTP_PORT": str(free_port()),
            "HUB_IMAGE": hub,
            "HUB_LLM_BASE_URL": model,
            "HUB_LLM_MODEL": "scripted",
            "HUB_EGRESS_ALLOW": f"{host}/32",
        }
        found = Stack(folder, f"agent-hub-check-{secrets.token_hex(3)}", settings, host)
        (folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        beside = {"services": {name: {"image": image} for name, image in images.items()}}
        (folder / "override.yaml").write_text(yaml.safe_dump(beside))
        try:
            yield found
        finally:
            found.compose("down", "--volumes", "--timeout", "5")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def _model(host: str) -> Iterator[str]:
    """A scripted model that containers can reach; its address."""
    command = [sys.executable, "-m", "tests.support.model_server", "--host", host]
    with subprocess.Popen(command, cwd=docker.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)


def program_of(found: Stack) -> FakeProgram:
    """A tenant's program that containers can reach."""
    made = FakeProgram()
    made.host = found.host
    return made
