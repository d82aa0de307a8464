"""The operator's home over HTTP: bounded queries, true numbers, audited changes, closed doors."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hub.console.charts import Line, bars, curves, nice_top, path_of
from hub.console.figures import PERIODS, percentile, series
from hub.console.formats import compact, duration, percent
from hub.models import BOUNDS, BUCKETS, Grain, Rollup
from hub.rollups import HOUR, roll_up
from hub.summaries import pools_of
from tenants.audit import Actor, record
from tenants.context import ops_scope, tenant_scope
from tenants.models import AuditEntry, PlanQuota, PlatformAudit, Quota, Tenant
from tests.console.activity import make_activity
from tests.console.world import World

Login = Callable[[User], Client]
MOST_QUERIES = {"": 22, "tenants/tenant/": 9, "tenants/quota/": 9, "hub/connection/": 10, "tenants/auditentry/": 9}


def work_in(client: Client, world: World) -> None:
    assert client.post("/admin/scope/", {"tenant": str(world.tenant.id)}).status_code == 302


@pytest.mark.parametrize("path", MOST_QUERIES)
@pytest.mark.parametrize("seat", ["all", "tenant"])
def test_pages_ask_a_bounded_number_of_questions(
    path: str, seat: str, staff: User, acme: World, umbrella: World, login: Login
) -> None:
    client = login(staff)
    if seat == "tenant":
        work_in(client, acme)
    else:
        client.post("/admin/scope/", {"tenant": ""})
    client.get(f"/admin/{path}")
    with CaptureQueriesContext(connection) as asked:
        assert client.get(f"/admin/{path}").status_code == 200
    plain = [one["sql"] for one in asked if "set_config" not in one["sql"]]
    assert len(plain) <= MOST_QUERIES[path], "\n".join(plain)
    if path == "":
        said = [one for one in plain if 'FROM "message"' in one or "FROM message" in one or 'FROM "turn"' in one]
        assert said == []


async def test_an_hour_is_counted_once_however_often(acme: World) -> None:
    from asgiref.sync import sync_to_async
    from django.conf import settings

    pools = pools_of(settings.HUB_ENV)
    await pools.open()
    try:
        assert await roll_up(pools) >= 2
        first = await sync_to_async(_rows)(acme)
        await roll_up(pools)
        assert await sync_to_async(_rows)(acme) == first
    finally:
        await pools.close()
    whole = next(row for row in first if row["grain"] == Grain.HOUR and row["connection_id"] is None)
    assert (whole["received"], whole["replies"], whole["turns"], whole["failed"]) == (1, 1, 1, 0)
    assert (whole["sent"], whole["dead"], whole["input_tokens"]) == (1, 1, 90)
    assert sum(whole["whole"]) == 1
    assert sum(whole["first_token"]) == 1
    assert {row["grain"] for row in first} == {1, 6, 24}


def _rows(world: World) -> list[dict[str, Any]]:
    with tenant_scope(world.tenant.id):
        rows = list(Rollup.objects.order_by("grain", "start", "connection_id").values())
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]


def test_the_dashboard_shows_what_was_counted(umbrella: World, acme: World, staff: User, login: Login) -> None:
    with tenant_scope(umbrella.tenant.id):
        Rollup.objects.all().delete()
    make_activity(umbrella.tenant.id, [row.id for row in umbrella.connections.values()], size=30)
    with tenant_scope(umbrella.tenant.id):
        for period in PERIODS.values():
            found = series(umbrella.tenant.id, period)
            assert len(found.steps) == round(period.span / timedelta(hours=period.grain))
            assert found.total.turns == sum(one.turns for one in found.steps) > 0
            assert found.before.turns > 0
    client = login(umbrella.users["viewer"])
    for key in PERIODS:
        page = client.get(f"/admin/?period={key}")
        assert page.text.count("<svg viewBox") >= 3  # a day without an error has no drawing of errors
        assert "telegram line" in page.text
    all_of = login(staff)
    all_of.post("/admin/scope/", {"tenant": ""})
    assert umbrella.tenant.name in all_of.get("/admin/?period=month").text


def test_percentiles_and_drawings() -> None:
    shape = [0] * BUCKETS
    shape[BOUNDS.index(1) + 1] = 90  # between 1 and 1.5 s
    shape[-1] = 10
    assert 1 < (percentile(shape, 0.5) or 0) < 1.5
    assert percentile(shape, 0.95) == BOUNDS[-1]
    assert percentile([0] * BUCKETS, 0.5) is None
    assert [nice_top(value) for value in (0, 3, 7, 11, 240)] == [1, 4, 8, 20, 400]
    assert path_of([(0, 1), (2, 3), None, (4, 5)]) == "M0.0 1.0L2.0 3.0M4.0 5.0"
    drawn = curves("t", "", ["a", "b", "c"], [Line("x", "a", [1.0, None, 2.0])], show=duration)
    assert len(drawn.dots) == 2
    assert drawn.rows[1] == ("b", ["–"])
    assert bars("t", "", ["a"], [Line("x", "a", [0])], show=compact).is_empty
    assert [compact(value) for value in (7, 1234, 2_000_000)] == ["7", "1.2k", "2M"]
    assert [duration(value) for value in (None, 0.42, 3.14, 45, 300)] == [
        "–",
        "420\xa0ms",
        "3.1\xa0s",
        "45\xa0s",
        "5\xa0min",
    ]
    assert [percent(value) for value in (0, 0.034, 0.5)] == ["0%", "3.4%", "50%"]


def test_a_limit_is_changed_with_a_reason(staff: User, acme: World, login: Login) -> None:
    client = login(staff)
    work_in(client, acme)
    with tenant_scope(acme.tenant.id):
        quota = Quota.objects.get(metric="sessions")
    path = f"/admin/tenants/quota/{quota.id}/change/"
    refused = client.post(path, {"override": "500", "alert_at": "0.8", "reason": ""})
    assert "Please say why." in refused.text
    assert client.post(path, {"override": "500", "alert_at": "0.8", "reason": "a trial"}).status_code == 302
    with tenant_scope(acme.tenant.id):
        assert Quota.objects.get(id=quota.id).override == 500
        entry = AuditEntry.objects.get(subject_id=quota.id)
    assert (entry.action, entry.actor, entry.reason) == ("quota.changed", "root", "a trial")
    assert (entry.before, entry.after) == ({"override": None}, {"override": 500})
    page = login(acme.users["owner"]).get("/admin/tenants/auditentry/")
    assert "a trial" in page.text
    assert login(acme.users["operator"]).get("/admin/tenants/auditentry/").status_code == 403


def test_a_plan_leaves_a_trace_on_the_platform(staff: User, acme: World, login: Login) -> None:
    client = login(staff)
    plan = acme.tenant.plan
    row = PlanQuota.objects.get(plan=plan, metric="documents")
    page = client.get(f"/admin/tenants/plan/{plan.id}/change/")
    formset = page.context["inline_admin_formsets"][0].formset
    own = page.context["adminform"].form
    values = {name: own.initial.get(name, field.initial) for name, field in own.fields.items()}
    values = {name: "" if value in (None, []) else str(value) for name, value in values.items()}
    for form in [formset.management_form, *formset.forms]:
        for name, field in form.fields.items():
            value = form.initial.get(name, field.initial)
            values[f"{form.prefix}-{name}"] = "" if value is None else str(getattr(value, "pk", value))
    name = next(key for key, value in values.items() if "limit_value" in key and value == str(row.limit_value))
    saved = client.post(f"/admin/tenants/plan/{plan.id}/change/", {**values, name: "77"})
    assert saved.status_code == 302, saved.context["errors"]
    entry = PlatformAudit._default_manager.filter(subject_id=plan.id).latest("id")
    assert entry.after["documents"] == 77
    PlanQuota.objects.filter(id=row.id).update(limit_value=row.limit_value)


def test_alerts_stand_at_the_top(acme: World, login: Login) -> None:
    with tenant_scope(acme.tenant.id):
        Quota.objects.filter(metric="tokens_per_day").update(used=450_000)
    assert "Nearly used up" in login(acme.users["viewer"]).get("/admin/").text
    with tenant_scope(acme.tenant.id):
        Quota.objects.filter(metric="tokens_per_day").update(used=90_000)
    assert "Nearly used up" not in login(acme.users["viewer"]).get("/admin/").text


def test_only_staff_suspend_and_say_why(staff: User, umbrella: World, login: Login) -> None:
    path = f"/admin/tenants/tenant/{umbrella.tenant.id}/suspend/"
    assert login(umbrella.users["owner"]).post(path, {"reason": "x"}).status_code in (302, 403)
    with ops_scope("test"):
        assert Tenant.objects.get(id=umbrella.tenant.id).status == "active"
    client = login(staff)
    assert "Please say why." in client.post(path, {"reason": " "}).text
    assert client.post(path, {"reason": "unpaid"}).status_code == 302
    assert "suspended" in login(umbrella.users["viewer"]).get("/admin/").text
    assert client.post(path.replace("suspend", "resume"), {"reason": "paid"}).status_code == 302
    with tenant_scope(umbrella.tenant.id):
        trail = list(AuditEntry.objects.filter(subject="tenant").order_by("id").values_list("action", "reason"))
    assert trail[-2:] == [("tenant.suspended", "unpaid"), ("tenant.resumed", "paid")]


def test_the_switcher_finds_by_name_and_tells_members_of_their_own(
    staff: User, acme: World, umbrella: World, login: Login
) -> None:
    def found(client: Client, wanted: str) -> list[str]:
        return [one["name"] for one in client.get("/admin/scope/find/", {"q": wanted}).json()["tenants"]]

    assert found(login(staff), "MBREL") == [umbrella.tenant.name]
    assert len(found(login(staff), "")) == 2
    assert found(login(acme.users["viewer"]), "") == [acme.tenant.name]
    assert found(login(acme.users["viewer"]), "umbrella") == []


def test_viewers_set_nothing_up(acme: World, login: Login) -> None:
    client = login(acme.users["viewer"])
    assert client.get("/admin/start/").status_code == 403
    assert "start-card" not in client.get("/admin/").text
    assert client.post(f"/admin/hub/connection/{acme.connections['web'].id}/ask/").status_code == 403


def test_the_start_is_put_away(acme: World, login: Login) -> None:
    client = login(acme.users["operator"])
    assert "start-card" in client.get("/admin/").text
    assert client.post("/admin/start/away/").status_code == 302
    assert "start-card" not in client.get("/admin/").text
    with tenant_scope(acme.tenant.id):
        Tenant.objects.filter(id=acme.tenant.id).update(start={})


def test_adapters_are_worded_in_chinese(acme: World, login: Login) -> None:
    client = login(acme.users["operator"])
    page = client.get("/admin/hub/connection/add/?channel=slack", headers={"accept-language": "zh-hans"}).text
    assert "机器人令牌" in page
    assert "签名密钥" in page
    assert "保存后显示在此处的地址" in page


def test_help_is_there_in_both_languages_for_every_channel_that_has_any() -> None:
    from hub.console.channel_help import FOLDER

    english, chinese = ({file.name for file in (FOLDER / language).glob("*.md")} for language in ("en", "zh"))
    assert english == chinese


def test_records_are_plain(acme: World) -> None:
    after = {"at": datetime(2026, 1, 2, tzinfo=UTC), "of": HOUR}
    made = record(acme.tenant.id, "quota.changed", actor=Actor("x"), after=after)
    with tenant_scope(acme.tenant.id):
        assert AuditEntry.objects.get(id=made).after == {"at": "2026-01-02T00:00:00Z", "of": "P0DT01H00M00S"}
