"""Two tenants with conversations, made the way the hub writes them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User

from agents.models import Agent
from hub.models import Connection, Contact, Delivery, Event, Message, Session, Turn
from hub.pipeline.bodies import Body, body_cell, pack
from hub.pipeline.connections import seal_credentials
from hub.pipeline.reading import seal_title, vault
from tenants.context import tenant_scope
from tenants.crypto import CellRef
from tenants.ids import uuid7
from tenants.members import add_member
from tenants.models import Quota, Tenant, Usage
from tenants.plans import create_tenant

PASSWORD = "a long pass phrase"
TRACE = {
    "steps": [
        {"node": "input", "started_ms": 0, "duration_ms": 1.2, "outcome": "ok", "detail": {"messages": 1}},
        {"node": "recall", "started_ms": 1.2, "duration_ms": 14.8, "outcome": "ok", "detail": {"lines": 3}},
        {"node": "core", "started_ms": 16, "duration_ms": 840.5, "outcome": "ok", "detail": {"model": "small"}},
        {"node": "summary", "started_ms": 857, "duration_ms": 2, "outcome": "skipped", "detail": {}},
    ]
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
    turn.created = turn.started_at = now() - timedelta(seconds=1)
    turn.finished_at, turn.trace, turn.input_tokens, turn.output_tokens = now(), TRACE, 90, 12
    turn.save()
    texts = (("user", "accepted", said, "李雷"), ("assistant", "final", answer, ""))
    messages = [_message(session, turn, n, *text) for n, text in enumerate(texts, 1)]
    return session, messages, turn


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
    row.address = row.part = b""
    row.save()
    return row
