"""A shop and its conversations, written the way the hub writes them, for pictures that look like a working day."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.contrib.auth.models import User

from agents.models import Agent
from hub.models import Connection, Contact, Delivery, Event, Message, Session, Turn
from hub.pipeline.bodies import Body, body_cell, pack, tool_texts_cell
from hub.pipeline.connections import seal_credentials
from hub.pipeline.reading import seal_title, vault
from memory.models import MemoryLine
from tenants.context import tenant_scope
from tenants.crypto import CellRef
from tenants.ids import uuid7
from tenants.members import add_member
from tenants.models import Quota, Tenant
from tenants.plans import create_tenant
from tests.console.activity import make_activity
from tests.console.world import _remembered, trace_of
from tests.shots.words import GREETING, SUGGESTIONS, TALKS, Talk

PASSWORD = "only for pictures of the console"
PROMPT = (
    "You are Mina of Lantern Home, a shop for lamps. Answer kindly and briefly, in the person's language. "
    "Look into memory before you ask for something twice; say so when you do not know."
)
USED = {"sessions": 0.46, "tokens_per_day": 0.83, "documents": 0.22, "storage_bytes": 0.97, "concurrency": 0.1}
"""Shares of the limits, so that more than one colour of the bars is seen."""
REASONS = (
    ("Telegram", "RecipientGone: Forbidden: bot was blocked by the user", 4),
    ("Order desk", "Unavailable: the callback_url answered 503; the delivery window is over", 9),
    ("Team Slack", "RecipientGone: Slack answered channel_not_found", 2),
)


@dataclass(slots=True)
class Shop:
    """What the pictures need to know of it."""

    tenant: Tenant
    agent: Agent
    connections: dict[str, Connection] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    """The last turn of each conversation; `looked_up` is the one that used a tool."""
    looked_up: Turn | None = None


def make_shop() -> Shop:
    """The shop, two smaller tenants beside it, a member and one who administers all."""
    tenant = create_tenant("lantern", "Lantern Home", plan="professional")
    with tenant_scope(tenant.id):
        vault().load_sync(tenant.id)
        agent = _agent(tenant, "Mina", PROMPT)
        shop = Shop(tenant, agent)
        for name, channel, values in _lines():
            shop.connections[name] = _connection(shop, name, channel, values)
        for number, talk in enumerate(TALKS):
            _talk(shop, talk, ago=timedelta(minutes=4 + 37 * number))
        for name, reason, count in REASONS:
            _letters(shop, name, reason, count)
        Tenant.objects.filter(id=tenant.id).update(start={"away": "yes"})
        for metric, share in USED.items():
            for quota in Quota.objects.filter(metric=metric, limit_value__gt=0):
                Quota.objects.filter(pk=quota.pk).update(used=int(quota.limit_value * share))
    make_activity(tenant.id, [row.id for row in shop.connections.values()], size=70)
    _neighbours()
    owner = User.objects.create_user("mei", password=PASSWORD, first_name="Mei")
    add_member(tenant, owner.pk, "owner")
    User.objects.create_superuser("root", password=PASSWORD)
    return shop


def _lines() -> Iterator[tuple[str, str, dict[str, Any]]]:
    look = {"title": "Lantern Home", "colour": "#0a7d5a", "greeting": GREETING, "suggestions": SUGGESTIONS}
    yield "Website", "web", {**look, "allowed_origins": "*"}
    yield "Telegram", "telegram", {"token": "1:abc", "secret_token": "hush"}
    yield "Team Slack", "slack", {"bot_token": "xoxb-1", "signing_secret": "s" * 32}
    yield "Order desk", "webhook", {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "answer": "inline"}
    yield "Shop app", "api", {}


def _agent(tenant: Tenant, name: str, prompt: str) -> Agent:
    agent = Agent(tenant_id=tenant.id, name=name, prompt=prompt, tools=["search_memory", "offer_replies"])
    agent.save(force_insert=True)
    return agent


def _connection(shop: Shop, name: str, channel: str, values: Mapping[str, Any]) -> Connection:
    row = Connection(tenant_id=shop.tenant.id, channel=channel, name=name, agent_id=shop.agent.id)
    row.last_event_at = datetime.now(UTC) - timedelta(minutes=3)
    if "allowed_origins" in values:
        row.allowed_origins = str(values["allowed_origins"]).split()
    seal_credentials(vault(), row, dict(values))
    row.save(force_insert=True)
    return row


def _neighbours() -> None:
    for slug, name, size in (("juniper", "Juniper Travel", 45), ("qinghe", "清河书店", 30)):
        tenant = create_tenant(slug, name, plan="starter")
        with tenant_scope(tenant.id):
            vault().load_sync(tenant.id)
            shop = Shop(tenant, _agent(tenant, "assistant", PROMPT))
            row = _connection(shop, name, "web", {})
        make_activity(tenant.id, [row.id], size=size)


# ---- what was said ----


def _talk(shop: Shop, talk: Talk, *, ago: timedelta) -> None:
    line = shop.connections[talk.line]
    contact = _contact(line, talk.person)
    begun = datetime.now(UTC) - ago
    session = Session(tenant_id=shop.tenant.id, connection=line, contact_id=contact, subject_id=contact)
    session.address_hash, session.address = uuid4().bytes, b""
    session.last_seq, session.last_inbound_at = len(talk.said), begun
    session.starred = talk.starred
    session.title = seal_title(session, talk.title)
    session.save(force_insert=True)
    for seq, (asked, answered) in enumerate(pairwise(talk.said), 1):
        if seq % 2:
            at = begun - timedelta(seconds=70 * (len(talk.said) - seq))
            turn = _turn(session, seq, at)
            _message(session, turn, seq, at, talk.person, asked)
            answer = _message(session, turn, seq + 1, turn.finished_at or at, "", answered)
            _sent(session, turn, answer, seq)
            if not isinstance(answered, str) and answered.get("tool_calls"):
                shop.looked_up = turn
    shop.sessions.append(session)
    shop.turns.append(turn)


def _contact(line: Connection, name: str) -> UUID:
    ident, tenant_id = uuid4(), line.tenant_id
    cells = {key: CellRef(tenant_id, "content", "contact", key, ident) for key in ("external", "name")}
    Contact.objects.create(
        id=ident,
        tenant_id=tenant_id,
        connection=line,
        external=vault().seal(cells["external"], ident.bytes),
        name=vault().seal(cells["name"], name.encode()),
    )
    return ident


def _turn(session: Session, seq: int, at: datetime) -> Turn:
    turn = Turn(tenant_id=session.tenant_id, session=session, status="finished", first_seq=seq, last_seq=seq)
    turn.model, turn.attempts, turn.input_tokens, turn.output_tokens = "small", 1, 151, 43
    turn.created, turn.started_at = at, at + timedelta(milliseconds=35)
    turn.first_token_at = turn.started_at + timedelta(milliseconds=290)
    turn.finished_at, turn.trace = turn.started_at + timedelta(milliseconds=910), trace_of(session.id)
    texts = [['{"query": "order 2041"}', "- [2026-11-02] The parcel of order 2041 goes to Canal Street 7."]]
    turn.tool_texts = vault().seal(tool_texts_cell(session.tenant_id, turn.id), orjson.dumps(texts))
    turn.save(force_insert=True)
    remembered = _remembered(session, seq + 1, "The parcel of order 2041 goes to Canal Street 7.")
    MemoryLine.objects.create(**remembered)
    return turn


def _message(session: Session, turn: Turn, seq: int, at: datetime, name: str, said: str | Mapping[str, Any]) -> Message:
    body = Body(sender_name=name, **({"text": said} if isinstance(said, str) else dict(said)))
    role, status = ("user", "accepted") if name else ("assistant", "final")
    row = Message(id=uuid7(), tenant_id=session.tenant_id, session=session, seq=seq, role=role, status=status)
    row.turn_id, row.created = turn.id, at
    row.model, row.tokens = ("", 12) if name else ("small", 43)
    row.body = vault().seal(body_cell(row.tenant_id, row.id), pack(body))
    row.save(force_insert=True)
    return row


def _sent(session: Session, turn: Turn, message: Message, position: int) -> None:
    row = _part(session, turn, message.id, position)
    row.status, row.receipt, row.platform_id = "sent", "read" if position == 1 else "delivered", "5501"
    row.sent_at = message.created + timedelta(milliseconds=140)
    row.save(force_insert=True)


def _letters(shop: Shop, name: str, reason: str, count: int) -> None:
    """Parts that the platform did not take; each with the event that says so."""
    line = shop.connections[name]
    sessions: Sequence[Session] = [row for row in shop.sessions[1:] if row.connection_id == line.id]
    for number in range(count):
        session = sessions[number % len(sessions)]
        turn = next(row for row in shop.turns if row.session_id == session.id)
        row = _part(session, turn, uuid7(), 100 + number)
        row.connection, row.status, row.detail, row.attempts = line, "dead", reason, 4
        row.created -= timedelta(minutes=11 * number)
        row.save(force_insert=True)
        Event.objects.create(
            tenant_id=shop.tenant.id,
            type="delivery.dead",
            connection_id=line.id,
            session_id=session.id,
            turn_id=turn.id,
            delivery_id=row.id,
            data={"reason": reason},
            created=row.created,
        )


def _part(session: Session, turn: Turn, message_id: UUID, position: int) -> Delivery:
    row = Delivery(tenant_id=session.tenant_id, session=session, connection_id=session.connection_id)
    row.turn_id, row.message_id, row.position, row.attempts = turn.id, message_id, position, 1
    row.created, row.expires_at = turn.finished_at or turn.created, turn.created + timedelta(hours=1)
    row.address = row.part = b""
    return row
