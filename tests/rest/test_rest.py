"""REST as programs and console users call it: scopes, tenants, pages, problems, schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.test import Client

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.console.world import World


class Api:
    """A client that speaks JSON with a key."""

    def __init__(self, key: str) -> None:
        self.client = Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {key}"})

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/v1/{path}", query)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        call = getattr(self.client, method)
        return call(f"/api/v1/{path}", json.dumps(body or {}), content_type="application/json")


def api(world: World, *scopes: str, agent: Any = None) -> Api:
    from tenants import keys

    return Api(keys.issue(world.tenant.id, scopes=scopes, agent_id=agent).key)


READS = ["sessions/", "deliveries/", "connections/", "agents/", "tenant/", "quotas/", "usage/"]


@pytest.mark.parametrize("path", READS)
def test_the_scope_matrix_of_reading(path: str, acme: World) -> None:
    assert api(acme, "read").get(path).status_code == 200
    assert api(acme, "read", "write").get(path).status_code == 200
    assert api(acme, "chat").get(path).status_code == 403
    assert api(acme, "write").get(path).status_code == 403
    assert Api("hub_nobody_nothing").get(path).status_code == 401
    assert Client(SERVER_NAME="localhost").get(f"/api/v1/{path}").status_code == 401


def test_the_scope_matrix_of_writing(acme: World) -> None:
    calls = [
        ("patch", f"sessions/{acme.session.id}/", {"starred": True}),
        ("post", "agents/", {"name": f"a{uuid4().hex[:6]}"}),
        ("patch", f"connections/{acme.connections['web'].id}/", {"name": "x"}),
        ("post", f"deliveries/{acme.deliveries['unknown'].id}/retry/", {}),
        ("post", "keys/", {"scopes": ["read"]}),
    ]
    for method, path, body in calls:
        assert api(acme, "read").send(method, path, body).status_code == 403, path
        assert api(acme, "read", "write").send(method, path, body).status_code in (200, 201), path


def test_foreign_rows_do_not_exist(acme: World, umbrella: World) -> None:
    caller = api(acme, "read", "write")
    foreign = umbrella
    for path in (
        f"sessions/{foreign.session.id}/",
        f"sessions/{foreign.session.id}/messages/",
        f"sessions/{foreign.session.id}/turns/",
        f"turns/{foreign.turn.id}/",
        f"deliveries/{foreign.deliveries['dead'].id}/",
        f"connections/{foreign.connections['web'].id}/",
        f"agents/{foreign.agent.id}/",
    ):
        answer = caller.get(path)
        assert answer.status_code == 404, path
        assert answer["Content-Type"] == "application/problem+json"
    assert caller.send("patch", f"agents/{foreign.agent.id}/", {"prompt": "x"}).status_code == 404
    assert caller.send("post", f"deliveries/{foreign.deliveries['dead'].id}/retry/").status_code == 404
    body = {"channel": "web", "name": "x", "agent_id": str(foreign.agent.id)}
    assert caller.send("post", "connections/", body).status_code == 400


def test_bodies_and_titles_are_opened(acme: World) -> None:
    caller = api(acme, "read", "write")
    lines = caller.get(f"sessions/{acme.session.id}/messages/").json()["results"]
    assert [(line["seq"], line["role"], line["text"]) for line in lines] == [
        (2, "assistant", "It left **today**."),
        (1, "user", "Where is my order?"),
    ]
    assert lines[1]["sender_name"] == "李雷"
    changed = caller.send("patch", f"sessions/{acme.session.id}/", {"title": "改名", "archived": True})
    assert changed.status_code == 200
    assert caller.send("patch", f"sessions/{acme.session.id}/", {"owner": "human"}).status_code == 400
    assert (changed.json()["title"], changed.json()["archived"], changed.json()["owner"]) == ("改名", True, "agent")
    assert caller.get("sessions/", archived="true").json()["results"][0]["title"] == "改名"
    caller.send("patch", f"sessions/{acme.session.id}/", {"archived": False})


def test_pages_follow_each_other(acme: World) -> None:
    caller = api(acme, "read")
    seen: list[str] = []
    page = caller.get("deliveries/", page_size=2).json()
    while True:
        seen += [row["id"] for row in page["results"]]
        if page["next"] is None:
            break
        page = caller.client.get(page["next"].removeprefix("http://localhost")).json()
    assert len(seen) == len(set(seen)) == len(acme.deliveries)
    made_up = caller.get("deliveries/", cursor="cD1nYXJiYWdl")
    assert (made_up.status_code, made_up.json()["type"]) == (400, "urn:hub:problem:bad_cursor")
    assert {row["status"] for row in caller.get("deliveries/", status="sent").json()["results"]} == {"sent"}
    assert caller.get("deliveries/", status="nonsense").status_code == 400


def test_connections_never_tell_credentials(acme: World) -> None:
    from hub.models import Connection
    from hub.pipeline.connections import open_credentials
    from hub.pipeline.reading import vault
    from tenants.context import tenant_scope

    caller = api(acme, "read", "write")
    body = {"channel": "telegram", "name": "t", "agent_id": str(acme.agent.id)}
    wrong = caller.send("post", "connections/", {**body, "credentials": {"token": "5:secret-token"}})
    assert wrong.status_code == 400
    assert "secret_token" in wrong.json()["errors"]["credentials"]
    assert "secret-token" not in wrong.text
    made = caller.send("post", "connections/", {**body, "credentials": {"token": "5:zzz", "secret_token": "sss"}})
    assert made.status_code == 201, made.text
    assert "zzz" not in made.text
    assert made.json()["webhook_path"].startswith("/webhooks/telegram/")
    path = f"connections/{made.json()['id']}/"
    assert caller.send("patch", path, {"credentials": {"secret_token": "new"}, "name": "u"}).status_code == 200
    with tenant_scope(acme.tenant.id):
        stored = open_credentials(vault(), Connection.objects.get(id=made.json()["id"]))
    assert (stored["token"], stored["secret_token"]) == ("5:zzz", "new")
    assert caller.client.delete(f"/api/v1/{path}").status_code == 204
    assert caller.client.delete(f"/api/v1/connections/{acme.connections['telegram'].id}/").status_code == 409


def test_agents_keep_their_keys_to_themselves(acme: World) -> None:
    from agents.models import Agent
    from hub.pipeline.reading import route_keys
    from tenants.context import tenant_scope

    caller = api(acme, "read", "write")
    route = {"provider": "openai", "model": "m", "base_url": "https://m.example/v1", "api_key": "sk-one"}
    made = caller.send("post", "agents/", {"name": "second", "routes": [route]})
    assert made.status_code == 201, made.text
    assert "sk-one" not in made.text
    path = f"agents/{made.json()['id']}/"
    route.pop("api_key")
    changed = caller.send("patch", path, {"prompt": "p", "routes": [{**route, "model": "n"}]})
    assert changed.json()["version"] == made.json()["version"] + 1
    with tenant_scope(acme.tenant.id):
        assert route_keys(Agent.objects.get(name="second")) == ["sk-one"]
    assert caller.send("patch", path, {"policy": {"nonsense": 1}}).status_code == 400
    assert caller.send("post", "agents/", {"name": "second"}).status_code == 409


def test_a_key_bound_to_an_agent_sees_nothing_else(acme: World) -> None:
    from agents.models import Agent
    from tenants.context import tenant_scope

    with tenant_scope(acme.tenant.id):
        other = Agent.objects.create(tenant_id=acme.tenant.id, name="other")
    bound = api(acme, "read", "write", agent=other.id)
    assert [row["name"] for row in bound.get("agents/").json()["results"]] == ["other"]
    assert bound.get("sessions/").json()["results"] == []
    assert bound.get("connections/").json()["results"] == []
    assert bound.get(f"turns/{acme.turn.id}/").status_code == 404
    assert bound.get("keys/").status_code == 403
    assert bound.send("post", "agents/", {"name": "third"}).status_code == 403


def test_keys_give_no_more_than_they_have(acme: World) -> None:
    caller = api(acme, "read", "write")
    assert caller.send("post", "keys/", {"scopes": ["chat"]}).status_code == 400
    made = caller.send("post", "keys/", {"scopes": ["read"], "name": "n"})
    assert made.status_code == 201
    fresh = Api(made.json()["key"])
    assert fresh.get("tenant/").json()["slug"] == "acme"
    assert "key" not in caller.get(f"keys/{made.json()['id']}/").json()
    assert caller.client.delete(f"/api/v1/keys/{made.json()['id']}/").status_code == 204
    assert fresh.get("tenant/").status_code == 401


def test_console_users_by_rank(acme: World, staff: User, login: Callable[[User], Client]) -> None:
    def patch(client: Client) -> int:
        return client.patch(
            f"/api/v1/sessions/{acme.session.id}/", {"starred": False}, content_type="application/json"
        ).status_code

    assert patch(login(acme.users["viewer"])) == 403
    assert patch(login(acme.users["operator"])) == 200
    assert login(acme.users["operator"]).get("/api/v1/keys/").status_code == 403
    assert login(acme.users["owner"]).get("/api/v1/keys/").status_code == 200
    assert login(staff).get("/api/v1/sessions/").status_code == 409


def test_problems_have_their_form(acme: World) -> None:
    answer = api(acme, "read").get("nothing/here")
    assert answer.status_code == 404
    body = answer.json()
    assert body["status"] == 404
    assert set(body) >= {"type", "title", "status", "detail"}
    wrong = api(acme, "read", "write").send("post", "agents/", {"name": ""})
    assert wrong["Content-Type"] == "application/problem+json"
    assert "name" in wrong.json()["errors"]
    refused = Api("hub_x_y").get("tenant/")
    assert refused["WWW-Authenticate"] == "Bearer"
    assert api(acme, "read").get("sessions/not-an-id/").status_code == 404


def test_quotas_and_usage(acme: World) -> None:
    caller = api(acme, "read")
    found = {row["metric"]: row for row in caller.get("quotas/").json()}
    assert found["sessions"]["used"] == 40
    assert caller.get("usage/").json()[0]["input_tokens"] == 90
    assert caller.get("usage/", days="900").status_code == 400


def test_the_schema_is_valid(recwarn: pytest.WarningsRecorder) -> None:
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.validation import validate_schema

    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    validate_schema(schema)  # type: ignore[no-untyped-call]
    assert "/api/v1/sessions/{id}/messages/" in schema["paths"]
    assert "apiKey" in schema["components"]["securitySchemes"]


def test_the_schema_and_its_page_are_served_by_the_hub() -> None:
    client = Client(SERVER_NAME="localhost")
    assert client.get("/api/schema/").status_code == 200
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert "cdn" not in page.text
    assert "https://" not in page.text


def test_the_console_leads_to_the_documents(acme: World, login: Callable[[User], Client]) -> None:
    assert 'href="/api/docs/"' in login(acme.users["viewer"]).get("/admin/").text
