"""A suspended tenant: new messages are refused politely, keys answer 403, what was begun is finished and sent."""

import asyncio

import pytest

from channels_adapters.types import Outcome
from hub.edges.apikeys import ApiKeys
from hub.edges.guard import Refused
from tenants.audit import Actor
from tenants.context import ops_scope, tenant_scope
from tenants.keys import issue
from tenants.models import AuditEntry, Tenant
from tenants.plans import set_status
from tests.support.model_plans import Plan
from tests.support.world import World


def _set(world: World, status: str) -> bool:
    with ops_scope("test"):
        tenant = Tenant.objects.get(id=world.tenant_id)
    changed = set_status(tenant, status, actor=Actor("root", 1), reason="unpaid")
    world.runtime.connections.forget_tenant(world.tenant_id)
    return changed


async def test_a_suspended_tenant_is_polite_and_finishes(hub_runtime: World) -> None:
    world = hub_runtime
    fake = world.fakes["telegram"]
    world.model.default = Plan(kind="text", text="still answered", first_delay=0.8)
    begun = await world.arrive("telegram", "before", number=1, conversation="7", sender="7")
    assert begun == [Outcome.NEW]
    key = await asyncio.to_thread(lambda: issue(world.tenant_id, scopes=["chat"]).key)
    assert await asyncio.to_thread(_set, world, "suspended")
    assert not await asyncio.to_thread(_set, world, "suspended")
    refused = await world.arrive("telegram", "after", number=2, conversation="99", sender="99")
    assert refused == [Outcome.REFUSED]
    await world.until(lambda: "still answered" in " ".join(fake.shown("7")), what="the begun turn is finished and sent")
    await world.until(lambda: fake.shown("99"), what="the notice is sent")
    assert "paused" in fake.shown("99")[0]
    with pytest.raises(Refused) as caught:
        await ApiKeys().admit(world.runtime, f"Bearer {key}", scope="chat")
    assert (caught.value.status, caught.value.code) == (403, "tenant_suspended")
    assert await asyncio.to_thread(_set, world, "active")
    assert await world.arrive("telegram", "again", number=3, conversation="99", sender="99") == [Outcome.NEW]
    await world.quiet()
    with tenant_scope(world.tenant_id):
        trail = await asyncio.to_thread(
            lambda: list(AuditEntry.objects.order_by("id").values_list("action", "actor", "reason"))
        )
    assert trail == [("tenant.suspended", "root", "unpaid"), ("tenant.resumed", "root", "unpaid")]
