"""The first deploy, without its containers: the compose file's commands and environment as processes that answer."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator

import aiohttp
import pytest

from scripts.deploycheck import monitoring
from scripts.deploycheck.kubernetes import shapes
from tests.deploy.containers import TOKEN, Machine, answered, machine
from tests.deploy.scraping import prometheus
from tests.support.platforms.webhook import FakeProgram

pytestmark = pytest.mark.xdist_group("deploy")
ROLES = ("gateway", "gateway", "runner", "worker", "beat")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Servers with the schema, made by the compose file's own two steps."""
    with machine(tmp_path_factory.mktemp("deploy")) as found:
        found.once("init")
        found.once("migrate")
        yield found


async def test_each_role_runs_alone_answers_and_ends_in_order(prepared: Machine) -> None:
    async with FakeProgram() as program, aiohttp.ClientSession() as http:
        path = prepared.plant(program)
        running = [prepared.start(role) for role in ROLES]
        await asyncio.gather(*(one.ready(http) for one in running))
        gateways = [one for one in running if one.service == "gateway"]
        for number, gateway in enumerate(gateways):
            assert await answered(gateway, path, program, http, f"hello {number}")
        exposed = "\n".join([await one.metrics(http) for one in running])
        assert missing(exposed) == set()
        for one in running:
            assert (await one.get(http, "/health/live"))[0] == 200
            assert (await one.get(http, "/nothing"))[0] == 404
        targets = {one.address.removeprefix("http://"): one.service for one in running}
        async with prometheus(prepared.folder, targets, TOKEN, http) as watching:
            if watching is not None:
                await watching.until('up{job="hub"} == 1', len(running))
                assert {one["role"] for one, _ in await watching.until("max by (role) (hub_workers)", 2)}
                await watching.until("hub:turns_used:ratio", 1)
                assert not await watching.values('ALERTS{alertname="HubDatabaseUnseen"}')
        by_role = {one.service: one for one in running}
        prepared.data.mkdir(exist_ok=True)
        prepared.data.chmod(0o2777)  # as Kubernetes makes an empty volume
        for role in ("gateway", "worker"):  # as `docker compose exec gateway hub doctor` does
            found = await asyncio.to_thread(prepared.doctor, role, by_role[role].address)
            assert found["port"]["ok"] and "served by the hub" in found["port"]["detail"]
            assert found["sealed cells"]["ok"] and found["data folder"]["ok"]
        found = await asyncio.to_thread(prepared.doctor, "gateway", program.base_url)
        assert "already in use" in found["port"]["detail"] and not found["port"]["ok"]
        prepared.data.chmod(0o700)
        runner = by_role["runner"]
        async with http.post(runner.address + path, data=b"{}") as answer:
            assert answer.status == 404  # a runner has no door
        ends = await asyncio.gather(*(asyncio.to_thread(one.stop) for one in running))
        assert ends == [0] * len(running), {one.service: one.tail() for one in running}


async def test_the_same_hub_in_one_command(prepared: Machine) -> None:
    async with FakeProgram() as program, aiohttp.ClientSession() as http:
        path = prepared.plant(program)
        command = [sys.executable, "-m", "hub.cli", "up", "--json"]
        whole = prepared.run("all", command, prepared.environment("worker"))
        await whole.ready(http)
        assert await answered(whole, path, program, http, "hello")
        assert await asyncio.to_thread(whole.stop) == 0, whole.tail()


def missing(exposed: str) -> set[str]:
    """Names that rules, dashboard and autoscalers ask for and no process exposes."""
    families = set(re.findall(r"^# TYPE (\S+) ", exposed, re.MULTILINE))
    asked = {rule["expr"] for name in ("alerts.rules.yaml", "recording.rules.yaml") for rule in monitoring.rules(name)}
    board = json.loads(monitoring.DASHBOARD.read_text(encoding="utf-8"))
    asked |= {target["expr"] for panel in board["panels"] for target in panel.get("targets", ())}
    for one in shapes()["production"]:
        if one["kind"] == "ScaledObject":
            asked |= {trigger["metadata"].get("query", "") for trigger in one["spec"]["triggers"]}
    names = {name for expression in asked for name in monitoring.names(expression)} - monitoring.recorded()
    return {
        name for name in names if re.sub(r"_(bucket|sum|count)$", "", name) not in families and name not in families
    }


def test_the_token_is_not_in_any_manifest() -> None:
    assert TOKEN not in json.dumps(shapes())
