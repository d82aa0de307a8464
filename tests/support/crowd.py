"""Many tenants with many conversations, made by the database itself; and what a page asks of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

TURNS_EACH = 10
"""Turns of a usual session; each is a question, an answer, a delivery and a line of the ledger."""

# As superuser without triggers and policies. All times lie in this month, for which there is a partition.
_SESSIONS = """
CREATE TEMP TABLE crowd AS
WITH ways AS (
    SELECT c.id AS connection_id, c.tenant_id, row_number() OVER (ORDER BY c.tenant_id) AS nth, count(*) OVER () AS n
    FROM connection c
), wanted AS (
    SELECT g AS place, 1 + (g * 7919) %% (SELECT max(n) FROM ways) AS nth, {turns} AS turns
    FROM generate_series(1, %(sessions)s) g
    UNION ALL SELECT 0, 1, %(long)s
)
SELECT uuidv7(-age) AS id, w.tenant_id, w.connection_id, x.turns, x.place, now() - age AS last, age
FROM wanted x JOIN ways w USING (nth)
CROSS JOIN LATERAL (SELECT (now() - date_trunc('month', now())) * (0.02 + 0.9 * abs(sin(x.place))) AS age) a
""".replace("{turns}", str(TURNS_EACH))
_FILL = (
    """
INSERT INTO contact (id, tenant_id, connection_id, external, blocked, created)
SELECT id, tenant_id, connection_id, '', false, last FROM crowd
""",
    """
INSERT INTO session (id, tenant_id, connection_id, contact_id, subject_id, address_hash, address, generation, current,
    owner, starred, archived, last_seq, version, fence, merge, merge_due, due_turns, delivery_seq, unsettled,
    last_inbound_at, created)
SELECT id, tenant_id, connection_id, id, id, uuid_send(gen_random_uuid()), '', 1, true, 'agent', false, false,
    turns * 2, turns, turns, true, false, 0, turns, 0, last, last FROM crowd
""",
    """
CREATE TEMP TABLE crowd_turn AS
SELECT uuidv7(-(age - gap)) AS id, uuidv7(-(age - gap)) AS asked, uuidv7(-(age - gap)) AS said,
    c.id AS session_id, c.tenant_id, c.connection_id, k, now() - (age - gap) AS at,
    CASE WHEN n < 5 THEN 'dead' WHEN n < 15 THEN 'failed' ELSE 'finished' END AS status,
    CASE WHEN n < 10 THEN 'dead' WHEN n < 13 THEN 'unknown' WHEN n < 15 THEN 'skipped' WHEN n < 16 THEN 'retry'
         ELSE 'sent' END AS sent
FROM crowd c CROSS JOIN LATERAL generate_series(1, c.turns) k
CROSS JOIN LATERAL (SELECT age * 0.9 * k / c.turns AS gap, (k * 7919 + c.place * 104729::bigint) % 1000 AS n) x
""",
    """
INSERT INTO turn (id, tenant_id, session_id, kind, status, merge, first_seq, last_seq, fence, attempts, reserved,
    reason, model, input_tokens, output_tokens, error, trace, created, started_at, first_token_at, finished_at)
SELECT id, tenant_id, session_id, 'reply', status, true, 2 * k - 1, 2 * k - 1, k, 1, 0, '', 'small', 900, 80, '',
    '{"steps": [{"node": "core", "at": 0.2, "ms": 812.0, "outcome": "ok"}], "finish": "stop"}', at, at,
    at + interval '300 ms', at + interval '900 ms' FROM crowd_turn
""",
    """
INSERT INTO message (id, tenant_id, session_id, seq, role, status, reason, turn_id, body, tokens, model, created)
SELECT asked, tenant_id, session_id, 2 * k - 1, 'user', 'accepted', '', id, ''::bytea, 12, '', at FROM crowd_turn
UNION ALL
SELECT said, tenant_id, session_id, 2 * k, 'assistant', 'final', '', id, ''::bytea, 80, 'small', at FROM crowd_turn
""",
    """
INSERT INTO delivery (id, tenant_id, session_id, connection_id, turn_id, message_id, position, part_index, final,
    status, attempts, due_at, expires_at, address, part, platform_id, platform_extra, live, receipt, detail, created,
    sent_at)
SELECT uuidv7(at - now()), tenant_id, session_id, connection_id, id, said, k, 0, true, sent, 1,
    CASE WHEN sent = 'retry' THEN now() END, at + interval '1 hour', '', '', '', '{}', false, '',
    CASE WHEN sent = 'dead' THEN 'the platform answered 403' ELSE '' END, at, at + interval '1 second' FROM crowd_turn
""",
    """
INSERT INTO event (id, tenant_id, type, session_id, turn_id, data, created)
SELECT gen_random_uuid(), tenant_id, 'delivery.dead', session_id, id, '{}', at FROM crowd_turn WHERE sent = 'dead'
""",
    """
INSERT INTO usage (id, tenant_id, kind, provider, model, input_tokens, output_tokens, cached_tokens, cost, estimated,
    session_id, turn_id, created_at)
SELECT uuidv7(at - now()), tenant_id, 'reply', 'openai', 'small', 900, 80, 0, 0.001, false, session_id, id, at
FROM crowd_turn
""",
)
EMPTY = 100.0
"""What reading a whole table costs at most where it holds next to nothing: partitions of months without messages."""
_TABLES = ("contact", "session", "turn", "message", "delivery", "event", "usage")


def make_tenant(slug: str) -> UUID:
    """A tenant with quotas, an agent and a connection."""
    from agents.models import Agent
    from hub.models import Connection
    from hub.pipeline.connections import seal_credentials
    from hub.pipeline.reading import load, vault
    from tenants.context import tenant_scope
    from tenants.plans import create_tenant

    tenant = create_tenant(slug, slug.capitalize(), plan="starter")
    with tenant_scope(tenant.id):
        load(tenant.id)
        agent = Agent.objects.create(tenant_id=tenant.id, name="assistant")
        row = Connection(tenant_id=tenant.id, channel="web", name="web", agent_id=agent.id)
        seal_credentials(vault(), row, {})
        row.save(force_insert=True)
    return UUID(str(tenant.id))


def fill(superuser_dsn: str, *, messages: int, long_session: int) -> None:
    """Conversations over all connections, `messages` in all, of which one session holds `long_session`."""
    sessions = max(1, (messages - long_session) // (2 * TURNS_EACH))
    with psycopg.connect(superuser_dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(_SESSIONS, {"sessions": sessions, "long": long_session // 2})
        for statement in _FILL:
            connection.execute(statement)
    with psycopg.connect(superuser_dsn, autocommit=True) as connection:
        for table in _TABLES:
            connection.execute(f"VACUUM ANALYZE {table}")


@dataclass
class Asked:
    """What a page asked: how many statements, how long they took, and every way a big table was read."""

    count: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    statements: list[str] = field(default_factory=list)
    scans: list[str] = field(default_factory=list)
    """Table and plan node of every read of a whole table, where plans were asked for."""


@contextmanager
def counted(*, big: frozenset[str] = frozenset()) -> Iterator[Asked]:
    """Count the statements of Django's connection; with `big` tables, explain each and note their full reads."""
    from django.db import connection

    asked = Asked()

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            took = time.perf_counter() - began
            asked.count += 1
            asked.seconds += took
            asked.slowest = max(asked.slowest, took)
            asked.statements.append(sql)
            if big and sql.lstrip().upper().startswith("SELECT") and " FROM " in sql.upper():
                asked.scans += _full_reads(context["connection"], sql, params, big)

    with connection.execute_wrapper(note):
        yield asked


def _full_reads(connection: Any, sql: str, params: Any, big: frozenset[str]) -> list[str]:
    with connection.connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
        found = cursor.fetchone()[0]
    plan = found if isinstance(found, list) else json.loads(found)
    return [f"{name}: {sql}" for name in _walk(plan[0]["Plan"], big)]


def _walk(node: dict[str, Any], big: frozenset[str]) -> Iterator[str]:
    table = str(node.get("Relation Name", ""))
    whole = node["Node Type"] == "Seq Scan" and node["Total Cost"] > EMPTY
    if whole and any(table == name or table.startswith(f"{name}_") for name in big):
        yield f"Seq Scan on {table}"
    for inner in node.get("Plans", ()):
        yield from _walk(inner, big)


def pages(tenant_id: UUID) -> dict[str, str]:
    """The pages of the console that read big tables, with a row's page for each kind. Run in the tenant's scope."""
    from hub.models import Connection, Delivery, Event, Message, Session, Turn

    session = Session.objects.order_by("-last_seq").values_list("id", "last_seq").first()
    assert session is not None
    turn = Turn.objects.order_by("-created").values_list("id", flat=True).first()
    delivery = Delivery.objects.filter(status="dead").values_list("id", flat=True).first()
    event = Event.objects.order_by("-created").values_list("id", flat=True).first()
    message = Message.objects.filter(session_id=session[0], seq=1).values_list("id", flat=True).first()
    connection = Connection.objects.order_by("-id").values_list("id", flat=True).first()
    return {
        "overview of a day": "/admin/",
        "overview of a week": "/admin/?period=week",
        "overview of a month": "/admin/?period=month",
        "tenants": "/admin/tenants/tenant/",
        "tenant": f"/admin/tenants/tenant/{tenant_id}/change/",
        "connection": f"/admin/hub/connection/{connection}/change/",
        "sessions": "/admin/hub/session/",
        "session": f"/admin/hub/session/{session[0]}/change/",
        "session, earlier": f"/admin/hub/session/{session[0]}/change/?before={session[1] // 2}",
        "session, live": f"/admin/hub/session/{session[0]}/change/?live={session[1]}",
        "messages": "/admin/hub/message/",
        "message": f"/admin/hub/message/{message}/change/",
        "turns": "/admin/hub/turn/",
        "turns that went wrong": "/admin/hub/turn/?status=wrong",
        "turn": f"/admin/hub/turn/{turn}/change/",
        "turns of a session": f"/admin/hub/turn/?q={session[0]}",
        "deliveries": "/admin/hub/delivery/",
        "dead letters": "/admin/hub/delivery/?status=letters",
        "dead letters by reason": "/admin/hub/delivery/?status=dead&reason=the+platform+answered+403",
        "delivery": f"/admin/hub/delivery/{delivery}/change/",
        "purge, asked": "/admin/hub/delivery/bulk/?do=purge&status=dead",
        "events": "/admin/hub/event/",
        "event": f"/admin/hub/event/{event}/change/",
        "contacts": "/admin/hub/contact/",
        "agents": "/admin/agents/agent/",
        "connections": "/admin/hub/connection/",
        "usage": "/admin/tenants/usage/",
        "quotas": "/admin/tenants/quota/",
        "keys": "/admin/tenants/apikey/",
        "summaries": "/admin/memory/summary/",
        "memory lines": "/admin/memory/memoryline/",
        "orders": "/admin/memory/memorybatch/",
        "checkpoints": "/admin/agents/checkpoint/",
        "tool calls": "/admin/agents/toolcall/",
    }
