"""The admin as staff and members see it, over HTTP and the real database."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.models import Agent
from hub.console.admin import site
from tenants.context import tenant_scope
from tenants.models import Member
from tests.console.world import PASSWORD, World

Login = Callable[[User], Client]
LISTS = sorted(
    f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    for model in site._registry  # every registered model
)


def work_in(client: Client, world: World) -> None:
    assert client.post("/admin/scope/", {"tenant": str(world.tenant.id)}).status_code == 302


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("seat", ["all", "tenant"])
def test_staff_see_every_list(path: str, seat: str, staff: User, acme: World, login: Login) -> None:
    client = login(staff)
    if seat == "tenant":
        work_in(client, acme)
    response = client.get(path)
    assert response.status_code == 200, path


def test_strangers_and_wrong_passwords_stay_out(acme: World) -> None:
    User.objects.create_user("nobody", password=PASSWORD)
    for name, password in (("nobody", PASSWORD), ("acme-owner", "wrong")):
        page = Client(SERVER_NAME="localhost").post("/admin/login/", {"username": name, "password": password})
        assert page.status_code == 200
        assert b"errornote" in page.content or b"correct" in page.content


def test_a_member_logs_in_and_sees_own_rows_only(acme: World, umbrella: World) -> None:
    client = Client(SERVER_NAME="localhost")
    page = client.post("/admin/login/?next=/admin/", {"username": "acme-viewer", "password": PASSWORD})
    assert page.status_code == 302
    page = client.get("/admin/hub/connection/")
    assert str(acme.connections["web"].id) in page.text
    assert str(umbrella.connections["web"].id) not in page.text
    assert client.get(f"/admin/hub/session/{umbrella.session.id}/change/").status_code == 302
    assert client.post("/admin/scope/", {"tenant": str(umbrella.tenant.id)}).status_code == 404
    assert client.post("/admin/scope/", {"tenant": ""}).status_code == 404


def test_who_signs_in_by_the_form_alone_comes_to_the_console(acme: World) -> None:
    client = Client(SERVER_NAME="localhost")
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', client.get("/admin/login/").text))
    page = client.post("/admin/login/", {**fields, "username": "acme-viewer", "password": PASSWORD}, follow=True)
    assert (page.status_code, page.redirect_chain[-1][0]) == (200, "/admin/")


def test_a_session_reads_as_a_chat(acme: World, login: Login) -> None:
    page = login(acme.users["viewer"]).get(f"/admin/hub/session/{acme.session.id}/change/")
    assert "Where is my order?" in page.text
    assert "It left <strong>today</strong>." in page.text
    assert "李雷" in page.text
    assert "An order that is late" in page.text


def heading(page: Any) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", page.text, re.DOTALL)
    assert found, page.text
    return found[1].strip()


def test_pages_are_called_what_people_call_them(acme: World, login: Login) -> None:
    client = login(acme.users["owner"])
    assert heading(client.get(f"/admin/hub/session/{acme.session.id}/change/")) == "An order that is late"
    assert heading(client.get(f"/admin/hub/connection/{acme.connections['web'].id}/change/")) == "web line"
    assert heading(client.get("/admin/hub/connection/add/?channel=slack")) == "Connect Slack"
    assert heading(client.get("/admin/tenants/quota/")) == "Quotas"
    with tenant_scope(acme.tenant.id):
        named = Agent.objects.create(tenant_id=acme.tenant.id, name="memory")
        member = Member.objects.get(role="viewer")
    zh = {"accept-language": "zh-hans"}
    assert heading(client.get(f"/admin/agents/agent/{named.id}/change/", headers=zh)) == "memory"
    assert heading(client.get(f"/admin/tenants/member/{member.id}/change/")) == "acme-viewer"
    assert client.get("/admin/hub/").status_code == 302
    for path in ("hub/delivery/", "hub/turn/", "hub/message/", "memory/memoryline/"):
        assert "An order that is late" in client.get(f"/admin/{path}").text, path
    with tenant_scope(acme.tenant.id):
        named.delete()


def test_only_what_may_be_done_is_offered(acme: World, login: Login) -> None:
    client = login(acme.users["operator"])

    def offers(status: str) -> tuple[bool, bool]:
        page = f"/admin/hub/delivery/{acme.deliveries[status].id}/"
        text = client.get(f"{page}change/").text
        return f"/{acme.deliveries[status].id}/retry" in text, f"/{acme.deliveries[status].id}/skip" in text

    assert {status: offers(status) for status in ("sent", "dead", "pending")} == {
        "sent": (False, False),
        "dead": (True, False),
        "pending": (False, True),
    }


def test_all_tenants_shows_no_text_and_changes_nothing(staff: User, acme: World, login: Login) -> None:
    client = login(staff)
    client.post("/admin/scope/", {"tenant": ""})
    page = client.get(f"/admin/hub/session/{acme.session.id}/change/")
    assert page.status_code == 200
    assert "Where is my order?" not in page.text
    assert client.post(f"/admin/agents/agent/{acme.agent.id}/change/", {"name": "x"}).status_code == 403
    assert client.post("/admin/logout/").status_code == 200


def test_ranks(acme: World, login: Login) -> None:
    def status(role: str, path: str) -> int:
        return login(acme.users[role]).get(path).status_code

    agent = "/admin/agents/agent/add/"
    assert [status(role, agent) for role in ("viewer", "operator", "owner")] == [403, 200, 200]
    key = "/admin/tenants/apikey/add/"
    assert [status(role, key) for role in ("viewer", "operator", "owner")] == [403, 403, 200]
    users = "/admin/auth/user/"
    assert [status(role, users) for role in ("viewer", "operator", "owner")] == [403, 403, 403]


@pytest.mark.parametrize("who", ["staff", "viewer", "operator", "owner"])
def test_every_page_of_a_row_opens(who: str, staff: User, acme: World, login: Login) -> None:
    client = login(staff if who == "staff" else acme.users[who])
    pages = {
        "hub/connection": acme.connections["telegram"].id,
        "agents/agent": acme.agent.id,
        "hub/session": acme.session.id,
        "hub/message": acme.messages[0].id,
        "hub/turn": acme.turn.id,
        "hub/delivery": acme.deliveries["dead"].id,
        "tenants/tenant": acme.tenant.id,
    }
    for page, ident in pages.items():
        response = client.get(f"/admin/{page}/{ident}/change/")
        assert response.status_code == 200, page
        assert "sk-very-secret" not in response.text
        assert "hush" not in response.text


def test_quotas_are_bars(acme: World, login: Login) -> None:
    page = login(acme.users["owner"]).get("/admin/tenants/quota/")
    assert 'class="bar-fill bar-' in page.text


def credentials(page: Any) -> dict[str, str]:
    form = page.context["adminform"].form
    values = {name: form.initial.get(name, field.initial) for name, field in form.fields.items()}
    return {name: "" if value is None else str(value) for name, value in values.items() if value is not False}


def test_secrets_come_back_masked_and_stay(acme: World, login: Login) -> None:
    from hub.models import Connection, Event
    from hub.pipeline.connections import open_credentials
    from hub.pipeline.reading import vault
    from tenants.context import tenant_scope

    client = login(acme.users["operator"])
    row = acme.connections["telegram"]
    path = f"/admin/hub/connection/{row.id}/change/"
    page = client.get(path)
    assert "hush" not in page.text
    assert "1:abc" not in page.text
    assert row.webhook_path in page.text
    values = credentials(page)
    assert values["option_token"] == "••••••••"
    saved = client.post(path, {**values, "name": "renamed", "option_secret_token": "louder"})
    assert saved.status_code == 302, saved.context["errors"]
    with tenant_scope(acme.tenant.id):
        stored = open_credentials(vault(), Connection.objects.get(id=row.id))
        assert Connection.objects.get(id=row.id).name == "renamed"
        assert Event.objects.filter(type="connection.changed", connection_id=row.id).exists()
    assert (stored["token"], stored["secret_token"]) == ("1:abc", "louder")


def test_credentials_that_no_key_opens_are_asked_for_again(acme: World, login: Login) -> None:
    from hub.models import Connection
    from tenants.context import tenant_scope

    with tenant_scope(acme.tenant.id):
        row = Connection.objects.filter(channel="slack").first() or Connection.objects.first()
        assert row is not None
        sealed = bytes(row.secrets)
        Connection.objects.filter(id=row.id).update(secrets=b"\x01" + sealed[:-1])
    try:
        page = login(acme.users["owner"]).get(f"/admin/hub/connection/{row.id}/change/")
        assert page.status_code == 200
        assert "cannot be opened" in page.text
    finally:
        with tenant_scope(acme.tenant.id):
            Connection.objects.filter(id=row.id).update(secrets=sealed)


def test_a_connection_is_made_from_its_channels_form(acme: World, login: Login) -> None:
    from hub.models import Connection
    from tenants.context import tenant_scope

    client = login(acme.users["operator"])
    assert "telegram" in client.get("/admin/hub/connection/add/").text
    path = "/admin/hub/connection/add/?channel=telegram"
    values = {**credentials(client.get(path)), "name": "second", "agent_id": str(acme.agent.id)}
    refused = client.post(path, {**values, "option_token": "", "option_secret_token": ""})
    assert refused.status_code == 200
    saved = client.post(path, {**values, "option_token": "2:def", "option_secret_token": "ok"})
    assert saved.status_code == 302, saved.context["errors"]
    with tenant_scope(acme.tenant.id):
        assert Connection.objects.get(name="second").channel == "telegram"


def test_an_agents_key_is_masked_and_kept(acme: World, login: Login) -> None:
    from agents.models import Agent
    from hub.pipeline.reading import route_keys
    from tenants.context import tenant_scope

    client = login(acme.users["operator"])
    path = f"/admin/agents/agent/{acme.agent.id}/change/"
    page = client.get(path)
    assert "sk-very-secret" not in page.text
    saved = client.post(path, {**credentials(page), "prompt": "Be kind.", "policy_rounds": "6", "tools": []})
    assert saved.status_code == 302, saved.context["errors"]
    with tenant_scope(acme.tenant.id):
        row = Agent.objects.get(id=acme.agent.id)
        assert (row.prompt, row.policy, row.routes[0]["model"]) == ("Be kind.", {"rounds": 6}, "small")
        assert route_keys(row) == ["sk-very-secret"]


def test_a_key_is_shown_once_and_can_be_revoked(acme: World, login: Login) -> None:
    from tenants import keys
    from tenants.context import tenant_scope
    from tenants.models import ApiKey

    client = login(acme.users["owner"])
    page = client.post("/admin/tenants/apikey/add/", {"name": "till", "scopes": ["read"], "agent_id": ""})
    assert page.status_code == 200
    key = page.context["key"]
    assert "no-store" in page["Cache-Control"]
    grant = keys.find_by_secret_sync(key)
    assert grant is not None
    assert grant.scopes == {"read"}
    with tenant_scope(acme.tenant.id):
        row = ApiKey.objects.get(name="till")
    assert key not in client.get(f"/admin/tenants/apikey/{row.id}/change/").text
    chosen = {"action": "revoke", "_selected_action": [str(row.id)]}
    assert "Revoke this key?" in client.post("/admin/tenants/apikey/", chosen).text
    assert keys.find_by_secret_sync(key) is not None
    client.post("/admin/tenants/apikey/", {**chosen, "confirmed": "yes"})
    assert keys.find_by_secret_sync(key) is None


def test_deliveries_are_retried_and_skipped_with_a_trace(acme: World, login: Login) -> None:
    from hub.models import Delivery, Event, Session
    from tenants.context import tenant_scope

    client = login(acme.users["operator"])
    dead, waiting = acme.deliveries["dead"], acme.deliveries["retry"]
    chosen = [str(row.id) for row in (dead, acme.deliveries["sent"])]
    client.get(f"/admin/hub/delivery/{dead.id}/retry/")  # a link asks; it does nothing
    client.post("/admin/hub/delivery/", {"action": "retry", "_selected_action": chosen})
    with tenant_scope(acme.tenant.id):
        assert Delivery.objects.get(id=dead.id).status == "dead"
    for doing, ids in (("retry", chosen), ("retry", chosen), ("skip", [str(waiting.id)])):
        client.post("/admin/hub/delivery/", {"action": doing, "_selected_action": ids, "confirmed": "yes"})
    with tenant_scope(acme.tenant.id):
        states = dict(Delivery.objects.values_list("id", "status"))
        kinds = set(Event.objects.filter(delivery_id__isnull=False).values_list("type", flat=True))
        unsettled = Session.objects.get(id=acme.session.id).unsettled
    assert states[dead.id] == "pending"
    assert states[waiting.id] == "skipped"
    assert states[acme.deliveries["sent"].id] == "sent"
    assert kinds == {"delivery.retried", "delivery.skipped"}
    assert unsettled == 2


def test_a_turn_shows_its_trace(acme: World, login: Login) -> None:
    client = login(acme.users["viewer"])
    page = client.get(f"/admin/hub/turn/{acme.turn.id}/change/")
    said = [bar.name for bar in page.context["page"].bars if bar.kind != "step"]
    assert said == ["small", "small", "search_memory", "small"]
    assert page.context["page"].failed_calls == 1
    assert "The parcel goes to Canal Street 7." in page.text
    assert "erased since" in page.text  # of the summary that is gone
    assert "It goes to Canal Street" not in page.text  # what a tool said is opened on demand
    assert "It goes to Canal Street" in client.get(f"/admin/hub/turn/{acme.turn.id}/tool/0/").text
    assert {row.status for row in page.context["page"].deliveries} >= {"sent", "unknown"}


def test_all_tenants_see_a_trace_without_its_words(staff: User, acme: World, login: Login) -> None:
    client = login(staff)
    client.post("/admin/scope/", {"tenant": ""})
    page = client.get(f"/admin/hub/turn/{acme.turn.id}/change/")
    assert page.status_code == 200
    assert "Where is my order?" not in page.text
    assert "Canal Street" not in page.text
    assert client.get(f"/admin/hub/turn/{acme.turn.id}/tool/0/").status_code == 404


def test_staff_make_a_tenant_with_quotas(staff: User, login: Login) -> None:
    from tenants.context import tenant_scope
    from tenants.models import Plan, Quota, Tenant

    client = login(staff)
    plan = Plan.objects.order_by("id").first()
    assert plan is not None
    values = {"name": "New", "slug": "newone", "plan": str(plan.id), "zone": "UTC", "language": "en"}
    page = client.post("/admin/tenants/tenant/add/", {**values, "suite": "sm4gcm"})
    assert page.status_code == 302, page.context["errors"]
    again = client.post("/admin/tenants/tenant/add/", {**values, "suite": "sm4gcm"})
    assert again.status_code == 200
    from tenants.context import ops_scope

    with ops_scope("test"):
        tenant = Tenant.objects.get(slug="newone")
    with tenant_scope(tenant.id):
        assert Quota.objects.count() == 5
    work_in(client, type("W", (), {"tenant": tenant}))  # type: ignore[arg-type]
    assert client.get("/admin/").status_code == 200


def test_a_new_member_gets_a_password_once(acme: World, login: Login) -> None:
    client = login(acme.users["owner"])
    page = client.post("/admin/tenants/member/add/", {"username": "newcomer", "role": "viewer"})
    assert page.status_code == 200
    entered = Client(SERVER_NAME="localhost").post(
        "/admin/login/", {"username": "newcomer", "password": page.context["key"]}
    )
    assert entered.status_code == 302


def test_lists_never_count(staff: User, acme: World, login: Login) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = login(staff)
    work_in(client, acme)
    for path in LISTS:
        with CaptureQueriesContext(connection) as asked:
            client.get(path)
        counted = [query["sql"] for query in asked if "count(*)" in query["sql"].lower()]
        assert counted == [], path
        assert len(asked) < 20, path
