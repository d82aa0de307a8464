"""What processes remember is forgotten by all of them as soon as it is changed, long before its five seconds end."""

import asyncio
import time
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from hub.env import env
from hub.pipeline.changed import Change
from hub.runtime import Runtime
from tenants.context import tenant_scope
from tests.support.world import World


@pytest.fixture(autouse=True)
def lasting(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    """What is remembered lasts a minute here, and what is told goes to the Redis of the hub under test."""
    monkeypatch.setattr("hub.pipeline.connections.LIFE_SECONDS", 60.0)
    monkeypatch.setattr("hub.edges.apikeys.LIFE_SECONDS", 60.0)
    told = env().model_copy(update={"redis_url": redis_url})
    monkeypatch.setattr("hub.changes.env", lambda: told)


async def _two(world: World) -> list[Runtime]:
    runtimes = [world.runtime, await world.another(role="gateway")]
    for runtime in runtimes:
        runtime.agents.specs.remembered.seconds = 60.0
    return runtimes


def _saved(world: World, model: Any, ident: UUID, **changes: Any) -> Any:
    def save() -> None:
        with tenant_scope(world.tenant_id):
            row = model.objects.get(id=ident)
            for name, value in changes.items():
                setattr(row, name, value)
            row.save()

    return asyncio.to_thread(save)


async def test_a_paused_connection_and_a_changed_agent_count_everywhere_at_once(hub_runtime: World) -> None:
    from agents.models import Agent
    from hub.models import Connection

    runtimes = await _two(hub_runtime)
    found = [await hub_runtime.connection("webhook", runtime) for runtime in runtimes]
    specs = [await runtime.agents.spec(hub_runtime.tenant_id, hub_runtime.agent_id) for runtime in runtimes]
    assert [each.status for each in found] == ["active", "active"]
    assert [each.prompt for each in specs] == ["Be brief.", "Be brief."]

    began = time.monotonic()
    await _saved(hub_runtime, Connection, found[0].id, status="paused")
    await _saved(hub_runtime, Agent, hub_runtime.agent_id, prompt="Be long.")
    for runtime in runtimes:
        await hub_runtime.until(partial(_status, hub_runtime, runtime, "paused"))
        await hub_runtime.until(partial(_prompt, hub_runtime, runtime, "Be long."))
    assert time.monotonic() - began < 10.0


async def _status(world: World, runtime: Runtime, wanted: str) -> bool:
    return (await world.connection("webhook", runtime)).status == wanted


async def _prompt(world: World, runtime: Runtime, wanted: str) -> bool:
    return (await runtime.agents.spec(world.tenant_id, world.agent_id)).prompt == wanted


async def test_a_revoked_key_and_a_suspended_tenant_count_everywhere_at_once(hub_runtime: World) -> None:
    from hub.edges.apikeys import ApiKeys
    from hub.edges.guard import Refused
    from tenants import keys
    from tenants.models import Tenant

    runtimes = await _two(hub_runtime)
    issued = await asyncio.to_thread(keys.issue, hub_runtime.tenant_id, scopes=["chat"])
    doors = [ApiKeys(), ApiKeys()]
    for door, runtime in zip(doors, runtimes, strict=True):
        await door.admit(runtime, f"Bearer {issued.key}", scope="chat")
    await hub_runtime.connection("webhook")
    assert await asyncio.to_thread(keys.revoke, hub_runtime.tenant_id, issued.id)
    await _saved(hub_runtime, Tenant, hub_runtime.tenant_id, status="suspended")

    async def refused(door: ApiKeys, runtime: Runtime) -> bool:
        try:
            await door.admit(runtime, f"Bearer {issued.key}", scope="chat")
        except Refused as error:
            return error.status == 401
        return False

    for door, runtime in zip(doors, runtimes, strict=True):
        await hub_runtime.until(partial(refused, door, runtime))
        await hub_runtime.until(partial(_status, hub_runtime, runtime, "suspended"))


def test_what_travels_is_read_strictly() -> None:
    change = Change("agent", UUID(int=1), UUID(int=2))
    assert Change.unpack(change.pack()) == change
    for wrong in ("", "agent", "planet 00 00", f"planet {UUID(int=1).hex} {UUID(int=2).hex}"):
        with pytest.raises(ValueError):
            Change.unpack(wrong)
