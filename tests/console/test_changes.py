"""Changes that reach further than their row: a plan brought to its tenants, an agent's audit; what processes tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hub.circuits import tell_circuits, told_circuits
from tenants.redis import connect, connect_sync
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from tests.console.world import World

Login = Callable[["User"], "Client"]


def test_a_changed_plan_is_applied_to_its_tenants_when_asked(
    acme: World, umbrella: World, staff: User, login: Login
) -> None:
    from tenants.context import tenant_scope
    from tenants.models import AuditEntry, PlanQuota, PlatformAudit, Quota

    client, page = login(staff), f"/admin/tenants/plan/{acme.tenant.plan_id}/apply/"
    limit = PlanQuota.objects.get(plan_id=acme.tenant.plan_id, metric="documents")
    with tenant_scope(acme.tenant.id):
        Quota.objects.filter(metric="documents").update(override=7)
    PlanQuota.objects.filter(id=limit.id).update(limit_value=limit.limit_value + 1)
    asked = client.get(page)
    assert {acme.tenant.slug in asked.text, umbrella.tenant.slug in asked.text} == {True}
    for _press in range(2):
        assert client.post(page, {"confirmed": "yes"}).status_code == 302
    for world, own in ((acme, 7), (umbrella, None)):
        with tenant_scope(world.tenant.id):
            row = Quota.objects.get(metric="documents")
            assert (row.limit_value, row.override) == (limit.limit_value + 1, own)
            entry = AuditEntry.objects.get(action="tenant.plan_applied")
            assert entry.after == {"documents": limit.limit_value + 1}
    said = PlatformAudit.objects.filter(action="plan.applied").order_by("id").values_list("after__tenants", flat=True)
    assert list(said) == [2, 0]
    assert login(acme.users["owner"]).get(page).status_code == 403
    PlanQuota.objects.filter(id=limit.id).update(limit_value=limit.limit_value)
    with tenant_scope(acme.tenant.id):
        Quota.objects.filter(metric="documents").update(override=None)


def test_what_is_changed_of_an_agent_is_in_the_trail_without_its_keys(acme: World, login: Login) -> None:
    from tenants.context import tenant_scope
    from tenants.models import AuditEntry

    client = login(acme.users["operator"])
    page = f"/admin/agents/agent/{acme.agent.id}/change/"
    initial = client.get(page).context["adminform"].form.initial
    values = {name: value for name, value in initial.items() if value not in (None, False)}
    values |= {
        "prompt": "Be kind and short.",
        "route0_provider": "openai",
        "route0_model": "m1",
        "route0_api_key": "sk-secret",
    }
    values |= {"route0_base_url": "https://api.example.com/v1", "context_tokens": 8000, "name": acme.agent.name}
    assert client.post(page, values).status_code == 302
    with tenant_scope(acme.tenant.id):
        entry = AuditEntry.objects.filter(action="agent.changed").latest("id")
    assert entry.after["prompt"] == "Be kind and short."
    assert entry.after["api_key"] == "•••"
    assert "sk-secret" not in str(entry.after)


async def test_each_process_tells_which_models_it_leaves_alone(redis_url: str) -> None:
    first, second = ("https://a.example/v1", "m1", "k"), ("https://b.example/v1", "m2", "k")
    states: dict[Any, str] = {first: "open", second: "closed"}
    client, reader = connect(redis_url), connect_sync(redis_url)
    tellers = [asyncio.create_task(tell_circuits(client, uuid4(), lambda: states)) for _ in range(2)]
    try:
        async with asyncio.timeout(PATIENCE):
            while (found := await asyncio.to_thread(told_circuits, reader)) != {("m1", "https://a.example/v1"): 2}:
                await asyncio.sleep(0.01)
            states[first] = "closed"
            while found:
                await asyncio.sleep(0.05)
                found = await asyncio.to_thread(told_circuits, reader)
    finally:
        for task in tellers:
            task.cancel()
        await client.aclose()
        reader.close()
