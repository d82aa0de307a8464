"""Two tenants with conversations, made the way the hub writes them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.contrib.auth.models import User

from agents.models import Agent
from hub.models import Connection, Contact, Delivery, Event, Message, Session, Turn
from hub.pipeline.bodies import Body, body_cell, pack, tool_texts_cell
from hub.pipeline.connections import seal_credentials
from hub.pipeline.reading import seal_title, vault
from memory.cells import cell
from memory.models import MemoryLine
from tenants.context import tenant_scope
from tenants.crypto import CellRef
from tenants.ids import uuid7
from tenants.members import add_member
from tenants.models import Quota, Tenant, Usage
from tenants.plans import create_tenant

PASSWORD = "a long pass phrase"
SOURCE = uuid4()


def trace_of(session_id: UUID) -> dict[str, Any]:
    """A turn's trace as `hub.pipeline.record.trace` writes it: a call that failed, a tool, two recalled things."""
    call = {"kind": "reply", "provider": "openai", "model": "small"}
    return {
        "steps": [
            {"node": "check", "at": 0, "ms": 0.2, "outcome": "ok"},
            {"node": "memory_needed", "at": 0.2, "ms": 0.1, "outcome": "ok", "detail": {"needed": True}},
            {"node": "recall", "at": 0.3, "ms": 14.8, "outcome": "ok", "detail": {"items": 2}},
            {"node": "core", "at": 15.1, "ms": 420.5, "outcome": "ok", "detail": {"model": "small", "output": 31}},
            {"node": "tools", "at": 435.6, "ms": 61.2, "outcome": "ok", "detail": {"tools": ["search_memory"]}},
            {"node": "core", "at": 496.8, "ms": 398.1, "outcome": "ok", "detail": {"model": "small", "output": 12}},
        ],
        "calls": [
            call | {"kind": "retry", "input": 60, "output": 0, "at": 15.4, "ms": 88.0, "fault": "overloaded"},
            call
            | {"input": 61, "output": 31, "cached": 40, "at": 190.2, "ms": 245.0, "first_ms": 98.1, "cost": 0.00042},
            call
            | {"input": 90, "output": 12, "cached": 60, "at": 497.0, "ms": 397.4, "first_ms": 120.4, "cost": 0.0005},
        ],
        "tools": [{"name": "search_memory", "at": 436.0, "ms": 60.4, "outcome": "ok"}],
        "recalled": [
            {"kind": "line", "score": 0.81, "session": session_id.hex, "seqs": [2]},
            {"kind": "summary", "score": 0.44, "session": session_id.hex, "seqs": [1, 2], "source": SOURCE.hex},
        ],
        "finish": "stop",
    }


@dataclass
class World:
    """One tenant's rows, by name."""

    tenant: Tenant
    agent: Agent
    connections: dict[str, Connection]
    session: Session
    messages: list[Message]
    turn: Turn
    deliveries: dict[str, Delivery]
    users: dict[str, User] = field(default_factory=dict)


def make_world(slug: str, *, said: str = "Where is my order?", answer: str = "It left **today**.") -> World:
    tenant = create_tenant(slug, slug.capitalize() + " Ltd", plan="starter")
    with tenant_scope(tenant.id):
        vault().load_sync(tenant.id)
        agent = Agent(tenant_id=tenant.id, name="assistant", prompt="Be brief.")
        agent.routes = [{"provider": "openai", "base_url": "https://models.example/v1", "model": "small"}]
        agent.seal_keys(vault(), ["sk-very-secret"])
        agent.save()
        connections = {
            "web": _connection(tenant.id, agent, "web", {}),
            "telegram": _connection(tenant.id, agent, "telegram", {"token": "1:abc", "secret_token": "hush"}),
        }
        session, messages, turn = _conversation(tenant.id, connections["telegram"], agent, said, answer)
        deliveries = {status: _delivery(session, turn, messages[1], status, n) for n, status in enumerate(STATUSES)}
        Session.objects.filter(id=session.id).update(unsettled=2)
        Event.objects.create(tenant_id=tenant.id, type="delivery.dead", data={"reason": "gone"}, created=now())
        Usage.objects.create(tenant_id=tenant.id, kind="chat", provider="openai", model="small", input_tokens=90)
        for metric, used in (("sessions", 40), ("tokens_per_day", 90_000), ("concurrency", 1)):
            Quota.objects.filter(metric=metric).update(used=used)
    world = World(tenant, agent, connections, session, messages, turn, deliveries)
    for role in ("owner", "operator", "viewer"):
        world.users[role] = User.objects.create_user(f"{slug}-{role}", password=PASSWORD)
        add_member(tenant, world.users[role].pk, role)
    return world


STATUSES = ("sent", "dead", "retry", "unknown", "pending")


def now() -> datetime:
    return datetime.now(UTC)


def _connection(tenant_id: UUID, agent: Agent, channel: str, values: dict[str, Any]) -> Connection:
    row = Connection(tenant_id=tenant_id, channel=channel, name=f"{channel} line", agent_id=agent.id)
    seal_credentials(vault(), row, values)
    row.save()
    return row


def _conversation(
    tenant_id: UUID, connection: Connection, agent: Agent, said: str, answer: str
) -> tuple[Session, list[Message], Turn]:
    contact_id = uuid4()
    Contact.objects.create(
        id=contact_id,
        tenant_id=tenant_id,
        connection=connection,
        external=vault().seal(CellRef(tenant_id, "content", "contact", "external", contact_id), b"77"),
        name=vault().seal(CellRef(tenant_id, "content", "contact", "name", contact_id), "李雷".encode()),
    )
    session = Session(tenant_id=tenant_id, connection=connection, contact_id=contact_id, subject_id=contact_id)
    session.address_hash, session.address = uuid4().bytes, b""
    session.last_seq, session.last_inbound_at = 2, now()
    session.title = seal_title(session, "An order that is late")
    session.save()
    turn = Turn(tenant_id=tenant_id, session=session, status="finished", first_seq=1, last_seq=1, model="small")
    turn.created = now() - timedelta(seconds=2)
    turn.started_at = turn.created + timedelta(milliseconds=35)
    turn.first_token_at = turn.started_at + timedelta(milliseconds=290)
    turn.finished_at, turn.trace = turn.started_at + timedelta(milliseconds=910), trace_of(session.id)
    turn.input_tokens, turn.output_tokens, turn.attempts = 151, 43, 1
    texts = orjson.dumps([['{"query": "parcel"}', "- [2026-11-02] 李雷: It goes to Canal Street 7."]])
    turn.tool_texts = vault().seal(tool_texts_cell(tenant_id, turn.id), texts)
    turn.save()
    MemoryLine.objects.create(**_remembered(session, 2, "The parcel goes to Canal Street 7."))
    said_rows = (("user", "accepted", said, "李雷"), ("assistant", "final", answer, ""))
    messages = [_message(session, turn, n, *row) for n, row in enumerate(said_rows, 1)]
    return session, messages, turn


def _remembered(session: Session, seq: int, text: str) -> dict[str, Any]:
    ident = uuid7()
    body = vault().seal(cell(session.tenant_id, "memory_line", "body", ident), orjson.dumps(["李雷", text]))
    whose = {"session_id": session.id, "subject_id": session.subject_id, "tenant_id": session.tenant_id}
    return {"id": ident, **whose, "seq": seq, "role": "user", "body": body, "tokens": 9, "said_at": now()}


def _message(session: Session, turn: Turn, seq: int, role: str, status: str, text: str, name: str) -> Message:
    row = Message(id=uuid7(), tenant_id=session.tenant_id, session=session, seq=seq, role=role, status=status)
    row.turn_id, row.created = turn.id, now()
    row.body = vault().seal(body_cell(row.tenant_id, row.id), pack(Body(text=text, sender_name=name)))
    row.save(force_insert=True)
    return row


def _delivery(session: Session, turn: Turn, message: Message, status: str, position: int) -> Delivery:
    row = Delivery(tenant_id=session.tenant_id, session=session, connection_id=session.connection_id, status=status)
    row.turn_id, row.message_id, row.position = turn.id, message.id, position
    row.created, row.expires_at = now(), now() + timedelta(minutes=15)
    row.due_at = now() if status in ("retry", "pending") else None
    if status == "sent":
        row.sent_at, row.receipt, row.attempts, row.platform_id = now(), "read", 1, "5501"
    if status == "dead":
        row.detail, row.attempts = "RecipientGone: Forbidden: bot was blocked by the user", 4
    row.address = row.part = b""
    row.save()
    return row
