"""A real Prometheus with our rules, where one is installed."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from scripts.deploycheck.monitoring import PROMETHEUS


class Prometheus:
    """Asked over its API."""

    def __init__(self, address: str, http: aiohttp.ClientSession) -> None:
        self._address, self._http = address, http

    async def values(self, query: str) -> list[tuple[Mapping[str, str], float]]:
        """The series of an instant query."""
        try:
            async with self._http.get(f"{self._address}/api/v1/query", params={"query": query}) as answer:
                found: Any = await answer.json()
        except (aiohttp.ClientError, OSError):
            return []
        return [(one["metric"], float(one["value"][1])) for one in found["data"]["result"]]

    async def until(self, query: str, count: int, *, seconds: float = 40.0) -> list[tuple[Mapping[str, str], float]]:
        """The answer once it has so many series."""
        deadline = time.monotonic() + seconds
        while len(found := await self.values(query)) < count:
            assert time.monotonic() < deadline, (query, found)
            await asyncio.sleep(0.2)
        return found


def _at_once(rules: Path, folder: Path) -> str:
    """Our rules as they are, but looked at every second: a test has no use for the wait between two looks."""
    found = yaml.safe_load(rules.read_text(encoding="utf-8"))
    for group in found["groups"]:
        group["interval"] = "1s"
    copy = folder / rules.name
    copy.write_text(yaml.safe_dump(found), encoding="utf-8")
    return str(copy)


@asynccontextmanager
async def prometheus(
    folder: Path, targets: Mapping[str, str], token: str, http: aiohttp.ClientSession
) -> AsyncIterator[Prometheus | None]:
    """One that scrapes these addresses (by role); None where none is installed."""
    program = shutil.which("prometheus")
    if program is None:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    statics = [{"targets": [address], "labels": {"role": role}} for address, role in targets.items()]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [_at_once(path, folder) for path in PROMETHEUS.glob("*.rules.yaml")],
        "scrape_configs": [
            {"job_name": "hub", "authorization": {"credentials": token}, "static_configs": statics},
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address={listen}", "--log.level=error"], stderr=subprocess.DEVNULL
    )
    try:
        yield Prometheus(f"http://{listen}", http)
    finally:
        process.terminate()
        process.wait(timeout=20)
