"""Commands that act on rows of conversations: replay, memory, the demo tenant, and the upkeep of the rows."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import connections

from hub import upkeep
from hub.celery import SLOTS, app
from hub.cli import lookup
from hub.env import env
from hub.models import Connection, Delivery, Event, MessageKey, Session, Worker
from hub.replay import Letters, replay_all
from hub.seed import seed_demo
from memory.memory import Memory
from memory.types import Exchange, Key, Line, Policy
from tenants.context import tenant_scope
from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import Pools
from tenants.ids import floor, uuid7
from tenants.models import Quota
from tests.cli.conftest import Hub, one_line
from tests.conftest import Database
from tests.support.patience import PATIENCE

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def deliver(session: Session, status: str, *, position: int, message_id: UUID) -> Delivery:
    with tenant_scope(session.tenant_id):
        return Delivery.objects.create(  # type: ignore[no-any-return]
            tenant_id=session.tenant_id,
            session=session,
            connection_id=session.connection_id,
            turn_id=uuid7(),
            message_id=message_id,
            position=position,
            status=status,
            attempts=3,
            expires_at=NOW,
            address=b"x",
            part=b"x",
            created=NOW,
        )


def test_a_dead_delivery_is_due_again_with_what_was_skipped(acme: Hub, session: Session) -> None:
    message_id = uuid7()
    dead = deliver(session, "dead", position=1, message_id=message_id)
    skipped = deliver(session, "skipped", position=2, message_id=message_id)
    other = deliver(session, "sent", position=3, message_id=uuid7())
    listed = acme("replay", "list", "--tenant", "acme", "--json").json["deliveries"]
    assert [one["id"] for one in listed] == [str(dead.id)]
    done = acme("replay", "retry", str(dead.id), "--tenant", "acme", "--json").json
    assert done["replayed"] == [str(dead.id), str(skipped.id)]
    with tenant_scope(session.tenant_id):
        rows = {row.id: row for row in Delivery.objects.all()}
        assert [rows[one.id].status for one in (dead, skipped, other)] == ["pending", "pending", "sent"]
        assert rows[dead.id].expires_at > datetime.now(UTC)
        assert Session.objects.get(id=session.id).unsettled == 2
        assert Event.objects.filter(delivery_id=dead.id).count() == 1
    assert "none of these" in one_line(acme("replay", "retry", str(dead.id), "--tenant", "acme"))


def test_all_dead_leaves_the_unknown_alone(acme: Hub, session: Session) -> None:
    dead = deliver(session, "dead", position=1, message_id=uuid7())
    deliver(session, "unknown", position=2, message_id=uuid7())
    assert acme("replay", "retry", "--all-dead", "--tenant", "acme", "--json").json["replayed"] == [str(dead.id)]


def test_all_dead_is_more_than_one_batch(acme: Hub, session: Session) -> None:
    dead = [deliver(session, "dead", position=number, message_id=uuid7()) for number in range(1, 6)]
    skipped = deliver(session, "skipped", position=6, message_id=dead[-1].message_id)
    with tenant_scope(session.tenant_id):
        letters = Letters(statuses=("dead",), until=datetime.now(UTC))
        sent = replay_all(letters, by="root", limit=2)
        assert sent == [*(row.id for row in dead), skipped.id]
        assert replay_all(letters, by="root", limit=2) == []


def test_deliveries_are_listed_skipped_and_purged(acme: Hub, session: Session) -> None:
    dead = deliver(session, "dead", position=1, message_id=uuid7())
    waiting = deliver(session, "pending", position=2, message_id=uuid7())
    sent = deliver(session, "sent", position=3, message_id=uuid7())
    listed = acme("delivery", "list", "--tenant", "acme", "--status", "dead", "--status", "sent", "--json").json
    assert {one["id"] for one in listed["deliveries"]} == {str(dead.id), str(sent.id)}
    assert acme("delivery", "show", str(dead.id), "--tenant", "acme", "--json").json["status"] == "dead"
    assert acme("delivery", "skip", str(waiting.id), "--tenant", "acme", "--json").json["skipped"] == [str(waiting.id)]
    purge = ["delivery", "purge", "--tenant", "acme", "--json"]
    assert "say --yes" in one_line(acme(*purge))
    assert acme(*purge, "--yes", "--days", "3650").json == {"purged": 0}
    assert acme(*purge, "--yes", "--days", "0").json == {"purged": 1}
    with tenant_scope(session.tenant_id):
        assert {row.id for row in Delivery.objects.all()} == {waiting.id, sent.id}


def test_a_session_is_read_without_its_control_characters(acme: Hub, session: Session) -> None:
    from hub.models import Message
    from hub.pipeline.bodies import Body, body_cell, pack

    row_id = uuid7()
    vault = lookup.vault()
    vault.load_sync(session.tenant_id)
    with tenant_scope(session.tenant_id):
        Session.objects.filter(id=session.id).update(last_seq=1)
        Message.objects.create(
            id=row_id, tenant_id=session.tenant_id, session_id=session.id, seq=1, role="user", status="noted",
            body=vault.seal(body_cell(session.tenant_id, row_id), pack(Body(text="hi\x1b[2J there"))), created=NOW,
        )  # fmt: skip
    (listed,) = acme("session", "list", "--tenant", "acme", "--json").json["sessions"]
    assert (listed["id"], listed["messages"]) == (str(session.id), 1)
    shown = acme("session", "show", str(session.id), "--tenant", "acme")
    assert "hi[2J there" in shown.out
    assert "\x1b[2J" not in shown.out


def remember(database: Database, session: Session, *, rounds: int) -> None:
    """Rounds of a conversation, stored as turns store them, the first fragment summarised."""
    from memory.embeddings.base import NoEmbedder
    from memory.summarise import Digester

    async def work() -> None:
        pools = Pools(database.login_dsn)
        await pools.open()
        try:
            vault = Vault(MasterKeys(*env().master_keys()), pools)
            memory = Memory(pools=pools, vault=vault, embedder=NoEmbedder())
            key = Key(tenant_id=session.tenant_id, session_id=session.id, subject_id=session.subject_id)
            policy = Policy(rounds=2, keep_rounds=1)
            buffer = await memory.open(key, policy)
            for number in range(rounds):
                lines = [
                    Line(2 * number + 1, "user", f"my number is {number}", "Ann\x1b[2J", NOW),
                    Line(2 * number + 2, "assistant", f"noted {number}", "", NOW),
                ]
                buffer, batch = memory.fold(buffer, lines, policy, key)
                async with pools.app(session.tenant_id) as conn:
                    await memory.append(conn, [Exchange(key=key, lines=lines, batch=batch)])
                if batch is not None:
                    await Digester(pools=pools, vault=vault, embedder=NoEmbedder()).run(session.tenant_id, batch.id)
        finally:
            await pools.close()

    asyncio.run(work())


def test_memory_is_shown_exported_and_erased(acme: Hub, session: Session, database: Database, tmp_path: Path) -> None:
    remember(database, session, rounds=3)
    named = ["--tenant", "acme", "--session", str(session.id)]
    shown = acme("memory", "show", *named, "--json").json
    assert shown["summaries"] == 1
    assert any("my number is" in one["text"] for one in shown["summary"])
    assert any(line["text"] == "my number is 2" for line in shown["recent"])
    told = acme("memory", "show", *named).out
    assert "     5 Ann[2J: my number is 2\n" in told  # what people call themselves moves nobody's cursor
    file = tmp_path / "out.jsonl"
    assert acme("memory", "export", *named, "--to", str(file), "--json").json["records"] >= 3
    records = [orjson.loads(line) for line in file.read_text().splitlines()]
    assert records[0]["lines"][0]["text"] == "my number is 0"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "say --yes" in one_line(acme("memory", "erase", *named, "--json"))
    by_subject = ["--tenant", "acme", "--subject", str(session.subject_id)]
    erased = acme("memory", "erase", *by_subject, "--yes", "--json").json
    assert erased["summaries"] == 1
    assert erased["sessions"] == 1
    empty = acme("memory", "show", *named, "--json").json
    assert (empty["lines"], empty["summaries"], empty["waiting"]) == (0, 0, 0)
    with tenant_scope(session.tenant_id):
        assert Session.objects.get(id=session.id).version == 1


def test_the_demo_is_made_once(hub: Hub) -> None:
    first = hub("migrate", "--demo", "--json").json["demo"]
    assert first["user"] == "admin"
    assert len(first["password"]) >= 16
    again = seed_demo()
    assert again == {name: first[name] for name in ("tenant", "agent", "web", "api")}
    tenant = lookup.tenant("demo")
    assert tenant.plan.slug == "enterprise"
    with tenant_scope(tenant.id):
        assert sorted(Connection.objects.values_list("channel", flat=True)) == ["api", "web"]
    user = get_user_model()._default_manager.get(username="admin")
    assert user.check_password(first["password"])


def run(task: Any, *, slot: int | None = None, task_id: str = "one") -> int:
    """Run a task body as a worker does for one message."""
    task.push_request(id=task_id, **({} if slot is None else {"slot": slot}))
    try:
        return int(task.run())
    finally:
        task.pop_request()


def test_quotas_are_counted_again_and_alerts_raised_once(acme: Hub, session: Session) -> None:
    with tenant_scope(session.tenant_id):
        Session.objects.filter(id=session.id).update(last_inbound_at=datetime.now(UTC))
        Quota.objects.filter(metric="sessions").update(override=1, used=7)
    assert run(upkeep.quota, slot=1) == 1
    assert run(upkeep.quota, slot=2, task_id="two") == 0
    with tenant_scope(session.tenant_id):
        assert Quota.objects.get(metric="sessions").used == 1
        (alert,) = Event.objects.filter(type="quota.alert")
        assert alert.data == {"metric": "sessions", "used": 1, "limit": 1}


def test_a_slot_is_run_by_one_sending_but_a_crashed_one_may_go_on(acme: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[object] = []

    def count(work: object) -> int:
        runs.append(work)
        return 1

    monkeypatch.setattr(upkeep, "_with_pools", count)
    assert run(upkeep.workers, slot=5, task_id="first") == 1
    assert run(upkeep.workers, slot=5, task_id="of another beat") == 0
    assert run(upkeep.workers, slot=5, task_id="first") == 1
    assert run(upkeep.workers, slot=6, task_id="next") == 1
    assert len(runs) == 3


def test_two_beats_name_the_same_slot() -> None:
    from hub.celery import _name_slot

    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    _name_slot(sender="hub.upkeep.partitions", headers=first)
    _name_slot(sender="hub.upkeep.partitions", headers=second)
    assert first["slot"] == second["slot"]
    other: dict[str, Any] = {}
    _name_slot(sender="memory.summarise", headers=other)
    assert not other


def test_old_message_keys_leave_and_young_ones_stay(acme: Hub, session: Session, database: Database) -> None:
    def key(age: int, tail: bytes) -> tuple[Any, ...]:
        made = datetime.now(UTC) - timedelta(days=age)
        return session.connection_id, b"k" * 15 + tail, session.tenant_id, uuid7(), made

    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        insert = (
            "INSERT INTO message_key (connection_id, key_hash, tenant_id, message_id, created) VALUES (%s,%s,%s,%s,%s)"
        )
        conn.cursor().executemany(insert, [key(401, b"a"), key(399, b"b")])
    assert run(upkeep.message_keys, slot=1) == 1
    with tenant_scope(session.tenant_id):
        assert [bytes(row.key_hash)[-1:] for row in MessageKey.objects.filter(tenant_id=session.tenant_id)] == [b"b"]


def test_old_tool_calls_leave_and_young_ones_stay(acme: Hub, session: Session, database: Database) -> None:
    def call(age: int) -> tuple[Any, ...]:
        made = datetime.now(UTC) - timedelta(days=age)
        return floor(made), session.tenant_id, uuid7(), made

    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        insert = (
            "INSERT INTO tool_call (id, tenant_id, turn_id, name, effect, fingerprint, ordinal, arguments, created) "
            "VALUES (%s, %s, %s, 'n', 'write', 'f', 0, 'a', %s)"
        )
        conn.cursor().executemany(insert, [call(91), call(89)])
    assert run(upkeep.tool_calls, slot=1) == 1
    assert run(upkeep.tool_calls, slot=2, task_id="two") == 0


def test_rows_of_long_gone_workers_leave(acme: Hub, database: Database) -> None:
    insert = (
        "INSERT INTO worker (id, lock_key, role, host, pid, started_at, seen_at) VALUES (%s,%s,'all','h',1,now(),%s)"
    )
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        old = datetime.now(UTC) - timedelta(hours=2)
        conn.cursor().executemany(insert, [(uuid7(), 11, old), (uuid7(), 12, datetime.now(UTC)), (uuid7(), 13, old)])
        conn.execute("SELECT pg_advisory_lock(13)")  # it lives, only its clock is late
        assert run(upkeep.workers, slot=1) == 1
    assert sorted(Worker.objects.values_list("lock_key", flat=True)) == [12, 13]


def test_partitions_need_the_owner_and_say_so_once(hub: Hub, settings_without_owner: None) -> None:
    before = upkeep.RAN.labels("hub.upkeep.partitions", "no_owner")._value.get()
    assert run(upkeep.partitions, slot=1) == 0
    assert upkeep.RAN.labels("hub.upkeep.partitions", "no_owner")._value.get() == before + 1


@pytest.fixture
def settings_without_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings

    monkeypatch.setattr(settings, "DATABASES", {"default": settings.DATABASES["default"]})


def test_partitions_are_there_for_the_coming_months(hub: Hub) -> None:
    assert run(upkeep.partitions, slot=7) == 0


def test_overdue_summaries_are_sent_again(acme: Hub, session: Session, database: Database) -> None:
    batch_id = uuid7()
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO memory_batch (id, tenant_id, session_id, subject_id, first_seq, last_seq, policy, state, "
            "attempts, due_at, claimed_at, error) "
            "VALUES (%s, %s, %s, %s, 1, 2, '{}', 'claimed', 0, now() - interval '1 s', now(), '')",
            (batch_id, session.tenant_id, session.id, session.subject_id),
        )
    assert run(upkeep.summaries, slot=1) == 1
    with app.connection_for_read() as broker, broker.SimpleQueue("hub") as queue:
        message = queue.get(timeout=PATIENCE)
        message.ack()
    assert message.headers["task"] == "memory.summarise"
    assert message.payload[0] == [str(session.tenant_id), str(batch_id)]


def test_celery_keeps_to_the_design() -> None:
    conf = app.conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_soft_time_limit < conf.task_time_limit < conf.broker_transport_options["visibility_timeout"]
    assert conf.accept_content == ["json"]
    app.loader.import_default_modules()
    assert set(SLOTS) | {"memory.summarise"} <= set(app.tasks)
    assert {entry["task"] for entry in conf.beat_schedule.values()} == set(SLOTS)


def test_an_agents_first_api_connection_is_made_once(acme: Hub) -> None:
    """As many processes would ask at once, each on a connection of its own."""
    from agents.models import Agent
    from hub.edges.apiagents import ApiAgent, _find_or_make

    tenant = lookup.tenant("acme")
    with tenant_scope(tenant.id):
        row = Agent.objects.get(name="helper")
    wanted = ApiAgent(id=row.id, name=row.name, created=0, connection_id=None)
    runtime: Any = SimpleNamespace(vault=lookup.vault())
    runtime.vault.load_sync(tenant.id)
    together = threading.Barrier(6)

    def ask(_: int) -> UUID:
        together.wait(PATIENCE)
        try:
            return _find_or_make(runtime, tenant.id, wanted)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        made = set(threads.map(ask, range(6)))
    assert len(made) == 1
    with tenant_scope(tenant.id):
        assert Connection.objects.filter(channel="api").count() == 1


def test_an_erasure_says_where_copies_are_left(acme: Hub, session: Session, database: Database) -> None:
    """Rows and versions go in one transaction; a Redis that is away leaves its copies to their end."""
    from django.test import override_settings
    from structlog.testing import capture_logs

    from hub.pipeline.forgetting import forget

    remember(database, session, rounds=3)
    forgotten = {"session_id": session.id}
    with tenant_scope(session.tenant_id):
        before = Session.objects.get(id=session.id).version
        with override_settings(HUB_REDIS_URL="redis://127.0.0.1:9/0"), capture_logs() as said:
            gone = forget(session.tenant_id, **forgotten)
        assert (gone["summaries"], gone["sessions"]) == (1, 1)
        assert [line["event"] for line in said] == ["memory_copies_left_to_expire"]
        assert Session.objects.get(id=session.id).version == before + 1
        with capture_logs() as said:
            assert forget(session.tenant_id, **forgotten) == {"lines": 0, "summaries": 0, "sessions": 1}
        assert said == []
