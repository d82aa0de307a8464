"""Many dead letters at once: asked first, in batches, each letter once; turns run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from tests.console.world import World

Login = Callable[["User"], "Client"]
BULK = "/admin/hub/delivery/bulk/"


@pytest.fixture
def letters(umbrella: World, redis_url: str) -> Any:
    """150 dead letters of the tenant, one reason for 30 of them."""
    from hub.models import Delivery
    from tenants.context import tenant_scope
    from tests.console.world import now

    session, message = umbrella.session, umbrella.messages[1]
    common = {"tenant_id": session.tenant_id, "session": session, "connection_id": session.connection_id}
    common |= {"turn_id": umbrella.turn.id, "message_id": uuid4(), "expires_at": now(), "address": b"", "part": b""}
    with tenant_scope(umbrella.tenant.id):
        Delivery.objects.filter(position__gte=100).delete()
        Delivery.objects.filter(message_id=message.id).update(status="sent")
        Delivery.objects.bulk_create(
            Delivery(
                **common, status="dead", position=100 + n, created=now(), detail="blocked" if n % 5 == 0 else "gone"
            )
            for n in range(150)
        )
        yield umbrella


def work(client: Client, fields: dict[str, Any]) -> Any:
    """Answer the question, close the page, let a worker do what was queued, come back; the last page."""
    from urllib.parse import parse_qs, urlsplit

    from hub.bulk import work_through

    begun = client.post(BULK, {**fields, "confirmed": "yes"})
    assert begun.status_code == 302
    if "work=" not in begun["Location"]:
        return client.get(begun["Location"])
    assert "progress-running" in client.get(begun["Location"]).text
    for task in queued():
        work_through.apply(args=task, throw=True)
    assert parse_qs(urlsplit(begun["Location"]).query)["do"] == [fields["do"]]
    return client.get(begun["Location"])


def queued() -> list[Any]:
    """Take what waits for a worker out of the broker; the arguments of each."""
    import base64
    import json

    import redis
    from django.conf import settings

    found = []
    with redis.Redis.from_url(settings.HUB_ENV.redis) as broker:
        while (message := broker.lpop("hub")) is not None:
            sent = json.loads(message)
            if sent["headers"]["task"] == "hub.letters":
                found.append(json.loads(base64.b64decode(sent["body"]))[0])
    return found


def test_all_letters_are_replayed_in_batches_and_once(letters: World, login: Login) -> None:
    from hub.models import Delivery, Event, Session
    from tenants.models import AuditEntry

    client = login(letters.users["operator"])
    before = Session.objects.get(id=letters.session.id).unsettled
    asked = client.get(BULK, {"do": "replay", "status": "dead"})
    assert asked.context["question"].number == "150"
    assert Delivery.objects.filter(status="dead").count() == 150
    fields = {name: value for name, value in asked.context["fields"] if name != "confirmed"}
    assert "150 deliveries will be sent again." in work(client, fields).text
    assert Delivery.objects.filter(status="pending", position__gte=100).count() == 150
    assert Session.objects.get(id=letters.session.id).unsettled == before + 150
    assert "0 deliveries will be sent again." in work(client, fields).text
    assert Event.objects.filter(type="delivery.retried").count() == 150
    counts = AuditEntry.objects.filter(action="delivery.replayed").values_list("after__count", flat=True)
    assert sorted(counts) == [50, 100]


def test_letters_of_one_reason_are_purged(letters: World, login: Login) -> None:
    from hub.models import Delivery

    client = login(letters.users["operator"])
    query = {"do": "purge", "status": "dead", "reason": "blocked"}
    asked = client.get(BULK, query)
    assert asked.context["question"].number == "30"
    assert asked.context["question"].harms
    work(client, {name: value for name, value in asked.context["fields"] if name != "confirmed"})
    assert Delivery.objects.filter(status="dead").count() == 120
    assert not Delivery.objects.filter(detail="blocked").exists()
    assert login(letters.users["viewer"]).get(BULK, query).status_code == 403


def test_a_dead_turn_is_run_again_once(acme: World, login: Login) -> None:
    from hub.models import Message, Session, Turn
    from tenants.context import tenant_scope

    client = login(acme.users["operator"])
    page = f"/admin/hub/turn/{acme.turn.id}/rerun/"
    with tenant_scope(acme.tenant.id):
        client.post(page, {"confirmed": "yes"})
        assert Turn.objects.get(id=acme.turn.id).status == "finished"  # what has ended well stays so
        Turn.objects.filter(id=acme.turn.id).update(status="dead")
        assert "Run again?" in client.get(page).text
        for _click in range(2):
            client.post(page, {"confirmed": "yes"})
        turn, session = Turn.objects.get(id=acme.turn.id), Session.objects.get(id=acme.session.id)
        assert (turn.status, turn.attempts, turn.finished_at) == ("due", 0, None)
        assert (session.due_turns, session.due_at is not None) == (1, True)
        assert Message.objects.get(id=acme.messages[0].id).turn_id is None
        Turn.objects.filter(id=turn.id).update(status="finished")
        Session.objects.filter(id=session.id).update(due_turns=0, due_at=None)


def test_a_model_is_really_asked(acme: World, login: Login) -> None:
    client = login(acme.users["operator"])
    path = f"/admin/agents/agent/{acme.agent.id}/test/0/"
    said = client.post(path, {"route0_provider": "offline"})
    assert said.context["asked"].ok
    refused = client.post(
        path, {"route0_provider": "openai", "route0_model": "m", "route0_base_url": "http://127.0.0.1:9/v1"}
    )
    assert not refused.context["asked"].ok
    assert refused.context["asked"].remedy
    assert client.post(f"/admin/agents/agent/{acme.agent.id}/test/1/", {}).context["asked"].answer
    assert login(acme.users["viewer"]).post(path, {"route0_provider": "offline"}).status_code == 403
    drawn = client.get(f"/admin/agents/agent/{acme.agent.id}/change/").text
    assert drawn.count('class="g-node') == 8
