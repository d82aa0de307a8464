"""The scripting contract: what each command takes, prints and refuses."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from hub.models import Connection
from hub.pipeline.connections import open_credentials
from tenants.context import tenant_scope
from tenants.keys import find_by_secret_sync
from tenants.models import Quota
from tests.cli.conftest import Hub, one_line

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_contract_of_the_four_creates(hub: Hub) -> None:
    tenant = hub("tenant", "create", "acme", "--plan", "professional", "--json").json
    assert tenant["slug"] == "acme"
    agent = hub(
        "agent", "create", "helper", "--tenant", "acme", "--model-url", "https://models.example/v1",
        "--model", "m1", "--model-key", "sk-1", "--json",
    ).json  # fmt: skip
    assert agent["name"] == "helper"
    connection = hub(
        "connection", "create", "webhook", "--tenant", "acme", "--agent", "helper",
        "--set", f"secret={SECRET}", "--set", "callback_url=http://127.0.0.1:1/cb", "--set", "debounce_ms=50", "--json",
    ).json  # fmt: skip
    assert connection["webhook_path"] == f"/webhooks/webhook/{connection['public_id']}"
    assert connection["debounce_ms"] == 50
    key = hub("key", "create", "--tenant", "acme", "--scope", "chat", "--scope", "read", "--json").json
    grant = find_by_secret_sync(key["key"])
    assert grant is not None
    assert (grant.id, grant.tenant_id) == (UUID(key["id"]), UUID(tenant["id"]))
    assert grant.scopes == {"chat", "read"}


def test_credentials_are_sealed_and_readable_again(acme: Hub) -> None:
    from hub.cli import lookup

    made = acme(
        "connection", "create", "webhook", "--tenant", "acme", "--agent", "helper", "--set", f"secret={SECRET}",
        "--json",
    ).json  # fmt: skip
    changed = acme("connection", "set", made["public_id"], "--tenant", "acme", "--set", "answer=inline", "--json")
    assert changed.code == 0
    tenant = lookup.tenant("acme")
    with tenant_scope(tenant.id):
        row = Connection.objects.get(id=made["id"])
        assert SECRET.encode() not in bytes(row.secrets)
        values = open_credentials(lookup.vault(), row)
    assert values["secret"] == SECRET
    assert values["answer"] == "inline"


def test_a_plan_gives_quotas(hub: Hub) -> None:
    tenant = hub("tenant", "create", "acme", "--plan", "enterprise", "--json").json
    with tenant_scope(UUID(tenant["id"])):
        assert Quota.objects.count() == 5


def test_suspend_and_resume(acme: Hub) -> None:
    assert acme("tenant", "suspend", "acme", "--json").json["status"] == "suspended"
    assert acme("tenant", "list", "--json").json["tenants"][0]["status"] == "suspended"
    assert acme("tenant", "resume", "acme", "--json").json["status"] == "active"


def test_a_tenant_moves_and_differs_from_its_plan(acme: Hub) -> None:
    assert acme("tenant", "plan", "acme", "enterprise", "--json").json["plan"] == "enterprise"
    changed = acme("quota", "set", "sessions", "7", "--tenant", "acme", "--json").json
    assert (changed["limit"], changed["override"]) == (7, 7)
    shown = acme("tenant", "show", "acme", "--json").json
    assert {one["metric"]: one["limit"] for one in shown["quotas"]}["sessions"] == 7
    assert shown["agents"] == 1
    assert acme("quota", "set", "sessions", "unlimited", "--tenant", "acme", "--json").json["limit"] == -1
    assert acme("quota", "reset", "sessions", "--tenant", "acme", "--json").json["override"] is None
    plans = {one["slug"]: one["limits"] for one in acme("plan", "list", "--json").json["plans"]}
    assert acme("plan", "show", "starter", "--json").json["limits"] == plans["starter"]


def test_changes_are_in_the_audit_trail(acme: Hub) -> None:
    from tenants.models import AuditEntry

    acme("connection", "create", "web", "--tenant", "acme", "--agent", "helper", "--name", "site")
    acme("connection", "pause", "site", "--tenant", "acme")
    acme("connection", "resume", "site", "--tenant", "acme")
    acme("quota", "set", "sessions", "7", "--tenant", "acme")
    acme("connection", "delete", "site", "--tenant", "acme", "--yes")
    with tenant_scope(UUID(acme("tenant", "show", "acme", "--json").json["id"])):
        entries = list(AuditEntry.objects.order_by("id"))
    actions = ["connection.created", "connection.paused", "connection.resumed", "quota.changed", "connection.deleted"]
    assert [one.action for one in entries][-5:] == actions
    assert {"tenant.created", "agent.created"} <= {one.action for one in entries}
    assert all(one.actor.startswith("hub") for one in entries)


def test_a_connection_is_shown_paused_and_deleted(acme: Hub) -> None:
    made = acme(
        "connection", "create", "webhook", "--tenant", "acme", "--agent", "helper", "--name", "hook",
        "--set", f"secret={SECRET}",
    )  # fmt: skip
    assert made.code == 0
    shown = acme("connection", "show", "hook", "--tenant", "acme")
    assert SECRET not in shown.out
    assert "/webhooks/webhook/" in shown.out
    assert acme("connection", "pause", "hook", "--tenant", "acme", "--json").json["status"] == "paused"
    assert acme("connection", "resume", "hook", "--tenant", "acme", "--json").json["status"] == "active"
    assert "say --yes" in one_line(acme("connection", "delete", "hook", "--tenant", "acme", "--json"))
    assert acme("connection", "delete", "hook", "--tenant", "acme", "--yes", "--json").json["sessions"] == 0
    assert acme("connection", "list", "--tenant", "acme", "--json").json == {"connections": []}


def test_an_agent_is_shown_and_tested(acme: Hub) -> None:
    assert acme("agent", "show", "helper", "--tenant", "acme", "--json").json["name"] == "helper"
    assert acme("agent", "test", "helper", "--tenant", "acme", "--json").json["routes"] == []
    acme(
        "agent", "set", "helper", "--tenant", "acme", "--model-url", "http://127.0.0.1:9/v1", "--model", "m1",
        "--model-key", "sk-hidden",
    )  # fmt: skip
    line = one_line(acme("agent", "test", "helper", "--tenant", "acme"))
    assert "HUB_EGRESS_ALLOW" in line
    assert "sk-hidden" not in line + acme("agent", "show", "helper", "--tenant", "acme").out


def test_doctor_asks_the_model() -> None:
    from hub.cli import working
    from hub.env import env

    gone = working.model(env().model_copy(update={"llm_base_url": "http://127.0.0.1:9/v1", "llm_model": "m"}))
    assert (gone.level, "HUB_EGRESS_ALLOW" in str(gone.remedy)) == ("bad", True)


def test_lists_have_one_object_each(acme: Hub) -> None:
    acme("connection", "create", "web", "--tenant", "acme", "--agent", "helper")
    acme("key", "create", "--tenant", "acme")
    assert [one["slug"] for one in acme("tenant", "list", "--json").json["tenants"]] == ["acme"]
    assert [one["name"] for one in acme("agent", "list", "--tenant", "acme", "--json").json["agents"]] == ["helper"]
    (connection,) = acme("connection", "list", "--tenant", "acme", "--json").json["connections"]
    assert connection["channel"] == "web"
    (key,) = acme("key", "list", "--tenant", "acme", "--json").json["keys"]
    assert key["state"] == "valid"
    assert key["key"].endswith("_…")
    assert acme("replay", "list", "--tenant", "acme", "--json").json == {"deliveries": []}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tenant", "create", "acme"], "taken"),
        (["tenant", "create", "b", "--plan", "gold"], "there is no plan 'gold'"),
        (["tenant", "create", "No Slug"], "slug:"),
        (["tenant", "create", "b", "--zone", "Mars/Base"], "zone:"),
        (["tenant", "suspend", "nobody"], "there is no tenant 'nobody'"),
        (["agent", "create", "a", "--tenant", "nobody"], "there is no tenant 'nobody'"),
        (["agent", "create", "helper", "--tenant", "acme"], "has an agent 'helper' already"),
        (["agent", "create", "a", "--tenant", "acme", "--model", "m"], "--model-url"),
        (["agent", "create", "a", "--tenant", "acme", "--memory", "colour=red"], "unknown: colour"),
        (["agent", "create", "a", "--tenant", "acme", "--memory", "rounds=many"], "expected a whole number"),
        (["agent", "create", "a", "--tenant", "acme", "--tool", "hammer"], "no such tool: hammer"),
        (["agent", "set", "ghost", "--tenant", "acme"], "has no agent 'ghost'"),
        (["connection", "create", "pigeon", "--tenant", "acme", "--agent", "helper"], "no channel is called 'pigeon'"),
        (["connection", "create", "webhook", "--tenant", "acme", "--agent", "helper"], "webhook: secret is missing"),
        (
            ["connection", "create", "webhook", "--tenant", "acme", "--agent", "helper", "--set", "color=1"],
            "unknown: color; this channel takes:",
        ),
        (["connection", "create", "web", "--tenant", "acme", "--agent", "helper", "--set", "burst=x"], "burst:"),
        (["connection", "create", "web", "--tenant", "acme", "--agent", "helper", "--set", "burst"], "KEY=VALUE"),
        (["connection", "set", "ghost", "--tenant", "acme"], "has no connection 'ghost'"),
        (["key", "revoke", "abc", "--tenant", "acme"], "has no key 'abc'"),
        (["key", "create", "--tenant", "acme", "--agent", "ghost"], "has no agent 'ghost'"),
        (["memory", "show", "--tenant", "acme"], "either --session or --subject"),
        (["memory", "show", "--tenant", "acme", "--session", "x"], "'x' is not the id of a session"),
        (["memory", "erase", "--tenant", "acme", "--session", "x", "--json"], "'x' is not the id of a session"),
        (["replay", "retry", "--tenant", "acme"], "name the deliveries"),
        (["quota", "set", "wishes", "1", "--tenant", "acme"], "no limit 'wishes'"),
        (["quota", "set", "sessions", "many", "--tenant", "acme"], "neither a number nor"),
        (["plan", "show", "gold"], "no plan 'gold'"),
        (["tenant", "plan", "acme", "gold"], "no plan 'gold'"),
        (["session", "show", "x", "--tenant", "acme"], "not the id of a session"),
        (["delivery", "skip", "x", "--tenant", "acme"], "not the id of a delivery"),
        (["delivery", "purge", "--days", "0", "--tenant", "nobody"], "there is no tenant"),
        (["connection", "pause", "ghost", "--tenant", "acme"], "has no connection 'ghost'"),
        (["agent", "test", "ghost", "--tenant", "acme"], "has no agent 'ghost'"),
        (["chat", "--json", "--tenant", "acme"], "--once"),
        (["chat", "--once", "hi", "--tenant", "acme", "--url", "http://127.0.0.1:9"], "has no web connection"),
    ],
)
def test_mistakes_are_one_clear_line(acme: Hub, arguments: list[str], told: str) -> None:
    assert told in one_line(acme(*arguments))


def test_a_refused_secret_is_not_repeated(acme: Hub) -> None:
    done = acme(
        "connection", "create", "webhook", "--tenant", "acme", "--agent", "helper", "--set", "secret=hunter2-hunter2"
    )
    line = one_line(done)
    assert "secret" in line
    assert "hunter2" not in line


def test_a_value_may_come_from_a_file(acme: Hub, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    done = acme(
        "connection", "create", "webhook", "--tenant", "acme", "--agent", "helper", "--set-file", f"secret={file}"
    )
    assert done.code == 0
    assert "/webhooks/webhook/" in done.out


def test_a_connection_is_tested_for_real(acme: Hub) -> None:
    acme("connection", "create", "web", "--tenant", "acme", "--agent", "helper", "--name", "site")
    assert acme("connection", "test", "site", "--tenant", "acme", "--json").json["ok"] is True
    acme(
        "connection", "create", "telegram", "--tenant", "acme", "--agent", "helper", "--name", "bot",
        "--set", "token=123456:" + "a" * 35, "--set", "secret_token=" + "s" * 32, "--set", "api_base=http://127.0.0.1:9",
    )  # fmt: skip
    assert "does not work" in one_line(acme("connection", "test", "bot", "--tenant", "acme"))


def test_a_revoked_key_ends(acme: Hub) -> None:
    key = acme("key", "create", "--tenant", "acme", "--json").json
    prefix = key["key"].split("_")[1]
    assert acme("key", "revoke", prefix, "--tenant", "acme", "--json").json["was_valid"] is True
    assert find_by_secret_sync(key["key"]) is None


def test_keys_at_rest_are_rotated(acme: Hub) -> None:
    made = acme(
        "connection", "create", "webhook", "--tenant", "acme", "--agent", "helper", "--set", f"secret={SECRET}",
        "--json",
    ).json  # fmt: skip
    assert made["status"] == "active"
    assert acme("key", "rotate-master", "--json").json == {"rewrapped": 0, "old_keys": 0}
    rotated = acme("key", "rotate", "--tenant", "acme", "--purpose", "credentials", "--json").json
    assert UUID(rotated["key_id"])
    # Not active for another minute, so there is nothing to seal again yet.
    assert acme("key", "reseal", "--tenant", "acme", "--purpose", "credentials", "--json").json["cells"] == 0


def test_an_agent_keeps_its_key_when_its_model_changes(acme: Hub) -> None:
    acme(
        "agent", "set", "helper", "--tenant", "acme", "--model-url", "https://a.example/v1", "--model", "m1",
        "--model-key", "sk-1",
    )  # fmt: skip
    changed = acme("agent", "set", "helper", "--tenant", "acme", "--model", "m2", "--json").json
    assert (changed["model"], changed["model_url"]) == ("m2", "https://a.example/v1")
    from agents.models import Agent
    from hub.cli import lookup
    from tenants.crypto import CellRef

    with tenant_scope(lookup.tenant("acme").id):
        row = Agent.objects.get(name="helper")
        cell = CellRef(row.tenant_id, "credentials", "agent", "credentials", row.id)
        assert json.loads(lookup.vault().open(cell, bytes(row.credentials))) == ["sk-1"]


def test_chat_names_an_address_that_does_not_answer(acme: Hub) -> None:
    acme("connection", "create", "web", "--tenant", "acme", "--agent", "helper")
    done = acme("chat", "--once", "hi", "--tenant", "acme", "--url", "http://127.0.0.1:9")
    assert done.code == 3
    line = done.err.removeprefix("hub: ")
    assert line.startswith("no hub answers at ws://127.0.0.1:9/ws/chat/")
