"""What holds for all operations: keys of idempotency, limits, pages, problems, the document, people and memory."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jsonschema
import pytest
from django.test import Client

from tests.rest.test_rest import Api, api
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.console.world import World

METHODS = ("get", "post", "patch", "delete")


def kind(answer: Any) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("urn:hub:problem:")


def post(caller: Api, path: str, body: Any, key: str = "") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    data = body if isinstance(body, str) else json.dumps(body)
    return caller.client.post(f"/api/v1/{path}", data, content_type="application/json", headers=headers)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    from hub.edges.rest.schema import openapi

    return openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, found) for path, ways in document["paths"].items() for method, found in ways.items()]


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    from hub.edges.rest.problems import PROBLEMS

    named: set[str] = set()
    for path, method, found in operations(document):
        where = f"{method} {path}"
        assert found["summary"] and "Scope: `" in found["description"], where
        assert found["security"][0]["apiKey"], where
        parameters = {item["name"] for item in found.get("parameters", [])}
        assert all(item.get("description") for item in found.get("parameters", []) if item["in"] == "query"), where
        assert ("Idempotency-Key" in parameters) == (method == "post" and not path.endswith("/test/")), where
        answers = found["responses"]
        assert {"400", "401", "403", "429", "500", "503"} <= set(answers), where
        assert ("404" in answers) == ("{id}" in path), where
        for status, answer in answers.items():
            contents = answer.get("content", {})
            if status >= "400":
                named |= set(contents["application/problem+json"]["examples"])
            elif status != "204":
                assert contents["application/json"]["example"] is not None, where
        if body := found.get("requestBody"):
            assert body["content"]["application/json"]["example"], where
    assert named == set(PROBLEMS) - {"method_not_allowed"}


def test_nothing_is_deprecated_without_saying_so_in_its_answers(document: dict[str, Any]) -> None:
    """`docs/api.md`: the first deprecated operation brings the headers, and takes the place of this test."""
    assert [f"{method} {path}" for path, method, found in operations(document) if found.get("deprecated")] == []


def test_examples_are_of_their_shape(document: dict[str, Any]) -> None:
    pairs = [
        content
        for _, _, found in operations(document)
        for part in (*found["responses"].values(), found.get("requestBody", {}))
        for content in part.get("content", {}).values()
    ]
    for content in pairs:
        schema = {**content["schema"], "components": document["components"]}
        shown = [content["example"]] if "example" in content else [x["value"] for x in content["examples"].values()]
        for example in shown:
            jsonschema.validate(example, schema, cls=jsonschema.Draft202012Validator)


def test_a_key_does_it_once(acme: World) -> None:
    from agents.models import Agent
    from tenants.context import tenant_scope

    caller, key, name = api(acme, "read", "write"), uuid4().hex, f"once{uuid4().hex[:6]}"
    first, again = post(caller, "agents/", {"name": name}, key), post(caller, "agents/", {"name": name}, key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert (first.get("Idempotency-Replayed"), again["Idempotency-Replayed"]) == (None, "true")
    with tenant_scope(acme.tenant.id):
        assert Agent.objects.filter(name=name).count() == 1
    assert kind(post(caller, "agents/", {"name": "other"}, key)) == (422, "idempotency_key_reused")
    assert kind(post(caller, "connections/", {"name": name}, key)) == (422, "idempotency_key_reused")
    assert kind(post(api(acme, "read", "write"), "agents/", {"name": name}, key)) == (422, "idempotency_key_reused")
    assert kind(post(caller, "agents/", {"name": name}, "with space")) == (400, "bad_idempotency_key")


def test_what_was_refused_may_be_corrected_under_its_key(acme: World) -> None:
    caller, key = api(acme, "read", "write"), uuid4().hex
    assert post(caller, "agents/", {"name": ""}, key).status_code == 400
    assert post(caller, "agents/", {"name": f"c{uuid4().hex[:6]}"}, key).status_code == 201


def test_a_key_is_the_tenants_and_its_answer_is_sealed(acme: World, umbrella: World) -> None:
    from hub.models import KeptAnswer
    from tenants.context import tenant_scope

    key = uuid4().hex
    made = post(api(acme, "read", "write"), "keys/", {"scopes": ["read"]}, key)
    assert post(api(umbrella, "read", "write"), "keys/", {"scopes": ["read"]}, key).status_code == 201
    with tenant_scope(acme.tenant.id):
        kept = KeptAnswer.objects.latest("created")
    assert made.json()["key"].encode() not in bytes(kept.answer)


def test_the_same_key_at_the_same_moment_is_refused(acme: World) -> None:
    from django.db import connections, transaction

    from hub.edges.rest.once import Once
    from tenants.context import tenant_scope

    caller, key = api(acme, "read", "write"), uuid4().hex
    import hashlib

    once = Once(acme.tenant.id, hashlib.sha256(key.encode()).digest(), b"")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with tenant_scope(acme.tenant.id), transaction.atomic():
            assert once.begin() is None
            held.set()
            done.wait(PATIENCE)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(PATIENCE)
    answer = post(caller, "agents/", {"name": f"h{uuid4().hex[:6]}"}, key)
    done.set()
    thread.join()
    assert kind(answer) == (409, "in_progress")
    assert answer["Retry-After"] == "1"
    assert post(caller, "agents/", {"name": f"h{uuid4().hex[:6]}"}, key).status_code == 201


def test_kept_answers_are_forgotten_after_a_day(acme: World) -> None:
    from datetime import timedelta

    from django.db.models import F

    from hub.models import KeptAnswer
    from tenants.context import tenant_scope

    caller, key = api(acme, "read", "write"), uuid4().hex
    first = post(caller, "keys/", {"scopes": ["read"]}, key)
    with tenant_scope(acme.tenant.id):
        KeptAnswer.objects.update(created=F("created") - timedelta(hours=25))
    again = post(caller, "keys/", {"scopes": ["write"]}, key)
    assert again.status_code == 201
    assert again.json()["id"] != first.json()["id"]


def test_requests_are_limited_by_the_plan(umbrella: World) -> None:
    from hub.edges import rates
    from tenants.models import Plan

    Plan.objects.filter(slug="starter").update(requests_per_minute=2)
    rates.COUNTS.forget()
    try:
        caller = api(umbrella, "read")
        first = caller.get("tenant/")
        assert first["RateLimit-Policy"] == '"minute";q=2;w=60'
        assert first["RateLimit"].startswith('"minute";r=')
        refused = next(found for found in (caller.get("tenant/") for _ in range(8)) if found.status_code == 429)
        assert kind(refused) == (429, "rate_limited")
        assert 0 < int(refused["Retry-After"]) <= 60
        assert api(umbrella, "read").get("tenant/").status_code == 200, "each key has its own count"
    finally:
        Plan.objects.filter(slug="starter").update(requests_per_minute=600)
        rates.COUNTS.forget()


BODIES: list[tuple[str, str, tuple[int, str]]] = [
    ("{", "application/json", (400, "malformed")),
    ('{"name": "\\ud800"}', "application/json", (400, "malformed")),
    ('{"name": "a\\u0000"}', "application/json", (400, "malformed")),
    ('{"policy": {"\\u0000": 1}}', "application/json", (400, "malformed")),
    ('{"name": NaN}', "application/json", (400, "malformed")),
    ('{"policy":' + '{"a":' * 40 + "1" + "}" * 41, "application/json", (400, "malformed")),
    ("[1]", "application/json", (400, "invalid")),
    ('{"name": "x", "nonsense": 1}', "application/json", (400, "invalid")),
    ('{"name": 5}', "application/json", (400, "invalid")),
    ("name=x", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
    ("x" * (1 << 20) + "y", "application/json", (413, "body_too_large")),
]


@pytest.mark.parametrize(("body", "media_type", "expected"), BODIES)
def test_bodies_that_are_none(body: str, media_type: str, expected: tuple[int, str], acme: World) -> None:
    caller = api(acme, "read", "write")
    assert kind(caller.client.post("/api/v1/agents/", body, content_type=media_type)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("sessions/?nonsense=1", (400, "unknown_parameter")),
        ("sessions/?starred=true&starred=false", (400, "unknown_parameter")),
        ("sessions/?starred=yes", (400, "invalid")),
        ("sessions/?connection=", (400, "invalid")),
        ("sessions/?page_size=0", (400, "invalid")),
        ("sessions/?page_size=²", (400, "invalid")),
        ("events/?type=%00", (400, "invalid")),
        ("tenant/?page_size=1", (400, "unknown_parameter")),
        ("sessions/00000000-0000-0000-0000-000000000000/", (404, "not_found")),
        ("subjects/nobody/lines/", (404, "not_found")),
    ],
)
def test_queries_that_are_none(path: str, expected: tuple[int, str], acme: World) -> None:
    assert kind(api(acme, "read").client.get(f"/api/v1/{path}")) == expected


def test_cursors_belong_to_their_list_and_tenant(acme: World, umbrella: World) -> None:
    page = api(acme, "read").get("deliveries/", page_size=1)
    assert page["Link"] == f'<{page.json()["next"]}>; rel="next"'
    following = page.json()["next"].removeprefix("http://localhost")
    assert api(acme, "read").client.get(following).status_code == 200
    assert kind(api(umbrella, "read").client.get(following)) == (400, "bad_cursor")
    assert kind(api(acme, "read").client.get(following.replace("deliveries", "events"))) == (400, "bad_cursor")


def test_wrong_methods_say_which_are_right(acme: World) -> None:
    answer = api(acme, "read", "write").send("post", f"sessions/{acme.session.id}/turns/")
    assert kind(answer) == (405, "method_not_allowed")
    assert "GET" in answer["Allow"]
    assert kind(Client(SERVER_NAME="localhost", enforce_csrf_checks=True).post("/api/nothing")) == (404, "not_found")


def test_a_message_is_stored_delivered_and_remembered(acme: World, umbrella: World) -> None:
    import orjson

    from channels_adapters.types import Address
    from hub.models import Delivery, Session
    from hub.pipeline.bodies import pack_address
    from hub.pipeline.reading import delivery_part, vault
    from memory.models import MemoryLine
    from tenants.context import tenant_scope
    from tenants.crypto import CellRef

    with tenant_scope(acme.tenant.id):
        vault().load_sync(acme.tenant.id)
        cell = CellRef(acme.tenant.id, "content", "session", "address", acme.session.id)
        sealed = vault().seal(cell, orjson.dumps(pack_address(Address(conversation="77"))))
        Session.objects.filter(id=acme.session.id).update(address=sealed)
        before = Session.objects.get(id=acme.session.id)
        known = list(MemoryLine.objects.filter(session_id=acme.session.id).values_list("id", flat=True))
    caller, path = api(acme, "read", "write"), f"sessions/{acme.session.id}/messages/"
    made = post(caller, path, {"text": "Ich **sehe** nach.", "sender_name": "Ada"})
    assert made.status_code == 201, made.text
    assert (made.json()["role"], made.json()["seq"]) == ("assistant", before.last_seq + 1)
    assert caller.get(path).json()["results"][0]["text"] == "Ich **sehe** nach."
    with tenant_scope(acme.tenant.id):
        after = Session.objects.get(id=acme.session.id)
        part = Delivery.objects.get(message_id=made.json()["id"])
        assert (part.status, part.position) == ("pending", before.delivery_seq + 1)
        assert "sehe" in str(delivery_part(part))
        assert (after.unsettled, after.version) == (before.unsettled + 1, before.version + 1)
        kept = MemoryLine.objects.filter(session_id=acme.session.id)
        assert [row.seq for row in kept.exclude(id__in=known)] == [2 * after.last_seq]
    assert kind(post(caller, path, {"text": "  "})) == (400, "invalid")
    assert kind(post(api(acme, "read"), path, {"text": "x"})) == (403, "permission_denied")
    assert kind(post(api(umbrella, "read", "write"), path, {"text": "x"})) == (404, "not_found")
    subject = f"subjects/{acme.session.subject_id}/"
    assert [row["text"] for row in caller.get(subject + "lines/", q="SEHE nach").json()["results"]] == [
        "Ich **sehe** nach."
    ]
    assert caller.get(subject + "lines/", q="nothing").json()["results"] == []
    assert caller.get(subject + "summaries/").json()["results"] == []
    erased = caller.client.delete(f"/api/v1/{subject}memory/")
    assert (erased.status_code, erased.json()["lines"]) == (200, 1 + len(known))
    assert caller.get(subject + "lines/").json()["results"] == []
    assert caller.get("events/", type="memory.erased").json()["results"][0]["data"]["lines"] == 1 + len(known)


def test_people(acme: World, umbrella: World) -> None:
    caller = api(acme, "read", "write")
    path = f"contacts/{acme.session.contact_id}/"
    assert caller.get(path).json()["name"] == "李雷"
    assert caller.send("patch", path, {"blocked": True}).json()["blocked"] is True
    assert [row["id"] for row in caller.get("contacts/", blocked="true").json()["results"]] == [
        str(acme.session.contact_id)
    ]
    caller.send("patch", path, {"blocked": False})
    assert api(umbrella, "read").get(path).status_code == 404
    assert caller.get("persons/").json()["results"] == []


def test_dead_parts_are_sent_again(acme: World) -> None:
    from hub.models import Delivery
    from tenants.context import tenant_scope

    caller, dead = api(acme, "read", "write"), acme.deliveries["dead"].id
    assert caller.send("post", f"deliveries/{dead}/replay/").json() == {"deliveries": [str(dead)]}
    assert kind(caller.send("post", f"deliveries/{dead}/replay/")) == (409, "conflict")
    with tenant_scope(acme.tenant.id):
        Delivery.objects.filter(id=dead).update(status="dead")


def test_asking_whether_it_works(acme: World) -> None:
    caller = api(acme, "read", "write")
    web = caller.send("post", f"connections/{acme.connections['web'].id}/test/").json()
    assert web["ok"] is True
    made = caller.send("post", "agents/", {"name": f"t{uuid4().hex[:6]}"}).json()
    assert caller.send("post", f"agents/{made['id']}/test/").json()["identity"] == "offline"
    route = {"provider": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    caller.send("patch", f"agents/{made['id']}/", {"routes": [route]})
    refused = caller.send("post", f"agents/{made['id']}/test/").json()
    assert refused["ok"] is False and refused["detail"]
    assert kind(api(acme, "read").send("post", f"agents/{made['id']}/test/")) == (403, "permission_denied")


def test_the_swagger_page_needs_nothing_from_elsewhere() -> None:
    client = Client(SERVER_NAME="localhost")
    page = client.get("/api/docs/")
    assert "default-src 'none'" in page["Content-Security-Policy"]
    assert "<script>" not in page.text
    schema = client.get("/api/schema/")
    assert schema["Content-Type"] == "application/json"
    assert schema.json()["openapi"] == "3.1.0"


def test_the_handbook_names_every_problem() -> None:
    from pathlib import Path

    from hub.edges.rest.problems import PROBLEMS

    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    assert [
        code for code, (status, words) in PROBLEMS.items() if f"| `{code}` | {status} | {words} |" not in text
    ] == []
