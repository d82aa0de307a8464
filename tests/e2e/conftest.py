"""The product as a newcomer starts it: one command, a fresh folder, a real browser."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.model_server import ModelServer
from tests.support.patience import PATIENCE

START_SECONDS = 60.0


@dataclass(frozen=True)
class Up:
    """A running `hub up`."""

    url: str
    printed: str
    folder: Path
    process: "subprocess.Popen[str]"

    @property
    def password(self) -> str:
        found = re.search(r"sign in as admin / (\S+)", self.printed)
        assert found, self.printed
        return found.group(1)


def clean_environment() -> dict[str, str]:
    """The machine's environment without what the test run has set for itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "DJANGO_", "PYTEST"))}


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    """A scripted model server in a thread of its own."""
    loop, ready, done = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    address: list[str] = []

    async def serve() -> None:
        async with ModelServer() as server:
            address.append(server.url)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    yield address[0]
    loop.call_soon_threadsafe(done.set)
    thread.join(10)


@pytest.fixture(scope="session")
def up(model_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`hub up` on a folder of its own, ready to be used."""
    with brought_up(tmp_path_factory.mktemp("up"), model_url) as found:
        yield found


@contextmanager
def brought_up(folder: Path, model_url: str, **changes: str) -> Iterator[Up]:
    """`hub up` with its data in this folder, until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = model_url if model_url.endswith("/v1") else f"{model_url}/v1"
    environment = {
        **clean_environment(),
        "HUB_DATA_DIR": str(folder / "data"),
        "PORT": str(port),
        "HUB_LLM_BASE_URL": base,
        "HUB_LLM_MODEL": "scripted",
        "HUB_EGRESS_ALLOW": "127.0.0.0/8",
        "HUB_DRAIN": "2",
        **changes,
    }
    log = (folder / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "hub.cli", "up"], env=environment, stdout=log, stderr=subprocess.STDOUT, text=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _until_ready(process, url, log.name)
        yield Up(url, Path(log.name).read_text(), folder, process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)
        log.close()


def _until_ready(process: "subprocess.Popen[str]", url: str, log: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, Path(log).read_text()
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as answer:
                if json.load(answer)["status"] == "ready" and "sign in as" in Path(log).read_text():
                    return
        except OSError:
            pass
        time.sleep(0.1)  # polling a foreign process, with a deadline
    raise AssertionError(Path(log).read_text())
