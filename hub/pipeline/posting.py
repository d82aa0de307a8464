"""A message that a person or a program of the tenant says in a session, beside the agent: stored and delivered.

Synchronous, for Django code, under the tenant's scope of the caller. It is remembered as the assistant's words, so that
the agent knows of it in its next turn; a turn that runs at this moment does not.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from redis.exceptions import RedisError

from channels_adapters.base import ChannelAdapter, Scope
from channels_adapters.registry import adapter_type
from channels_adapters.types import Part, Reply
from hub.models import Connection, ConnectionStatus, Delivery, DeliveryStatus, Message, Session, Turn
from hub.pipeline.bodies import Body, body_cell, clean, pack
from hub.pipeline.connections import open_credentials
from hub.pipeline.operating import note
from hub.pipeline.reading import load, vault
from hub.pipeline.record import pack_part
from memory.cells import cell
from memory.models import MemoryLine
from memory.tokens import estimate_tokens
from tenants.crypto import CellRef
from tenants.ids import uuid7
from tenants.redis import connect_sync

log = structlog.get_logger(__name__)


class NotPostable(Exception):
    """The session cannot take a message; the text says why."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A stored message and the parts by which it goes out."""

    message: Message
    body: Body
    deliveries: int


def post(session: Session, text: str, *, sender_name: str, by: str) -> Posted:
    """Say `text` in the session; its parts are sent in order after what is under way. Raises NotPostable."""
    load(session.tenant_id)
    body = Body(text=clean(text), sender_name=clean(sender_name))
    with transaction.atomic():
        # The row's lock is what every writer of a session's order holds.
        row: Session = Session.objects.select_for_update().get(id=session.id)
        if not row.current:
            raise NotPostable("The conversation was begun anew; this session takes no more messages.")
        connection: Connection = Connection.objects.get(id=row.connection_id)
        if connection.status != ConnectionStatus.ACTIVE:
            raise NotPostable("The connection is not active.")
        parts = _parts(connection, body.text)
        if parts and not row.address:
            raise NotPostable("It is not known where to send it.")
        message = _store(row, body)
        _deliver(row, connection, message, parts)
        _remember(row, message, body.text)
        Session.objects.filter(id=row.id).update(
            last_seq=message.seq,
            version=row.version + 1,
            delivery_seq=row.delivery_seq + len(parts),
            unsettled=row.unsettled + len(parts),
        )
        note(row.tenant_id, "message.posted", data={"by": by}, session_id=row.id, turn_id=message.turn_id)
        transaction.on_commit(lambda: _drop_buffer(row))
    return Posted(message, body, len(parts))


def _adapter(connection: Connection) -> ChannelAdapter[Any]:
    """Only to render, which is pure: it gets no way out."""
    kind = adapter_type(connection.channel)
    scope = Scope(connection_id=str(connection.id), public_id=connection.public_id, name=connection.name)
    nothing: Any = None
    return kind(kind.credentials_type(**open_credentials(vault(), connection)), http=nothing, keys=nothing, scope=scope)


def _parts(connection: Connection, text: str) -> list[Part]:
    adapter = _adapter(connection)
    return [] if adapter.capabilities.pull else list(adapter.render(Reply(text=text)))


def _store(row: Session, body: Body) -> Message:
    now, seq = datetime.now(UTC), row.last_seq + 1
    # Deliveries and traces hang on a turn: one that is over when it begins, and that nobody claims.
    turn = Turn(id=uuid7(), tenant_id=row.tenant_id, session=row, kind="notice", status="finished", reason="posted")
    turn.first_seq = turn.last_seq = seq
    turn.created = turn.started_at = turn.finished_at = now
    turn.save(force_insert=True)
    message = Message(id=uuid7(), tenant_id=row.tenant_id, session=row, seq=seq, role="assistant", status="final")
    message.turn_id, message.created = turn.id, now
    message.body = vault().seal(body_cell(row.tenant_id, message.id), pack(body))
    message.save(force_insert=True)
    return message


def _deliver(row: Session, connection: Connection, message: Message, parts: list[Part]) -> None:
    turn_id = message.turn_id
    if not parts or turn_id is None:
        return
    address = vault().open(CellRef(row.tenant_id, "content", "session", "address", row.id), bytes(row.address))
    window = connection.delivery_window or _adapter(connection).capabilities.delivery_window
    Delivery.objects.bulk_create(
        Delivery(
            id=ident,
            tenant_id=row.tenant_id,
            session=row,
            connection=connection,
            turn_id=turn_id,
            message_id=message.id,
            position=row.delivery_seq + index + 1,
            part_index=index,
            final=index == len(parts) - 1,
            status=DeliveryStatus.PENDING,
            due_at=message.created,
            expires_at=message.created + timedelta(seconds=float(window)),
            address=_sealed(row.tenant_id, "address", ident, address),
            part=_sealed(row.tenant_id, "part", ident, pack_part(part)),
            created=message.created,
        )
        for index, (ident, part) in enumerate((uuid7(), part) for part in parts)
    )


def _sealed(tenant_id: UUID, column: str, ident: UUID, plain: bytes) -> bytes:
    return vault().seal(CellRef(tenant_id, "content", "delivery", column, ident), plain)


def _remember(row: Session, message: Message, text: str) -> None:
    """As a line of memory, numbered as `hub.pipeline.inputs` numbers what was said."""
    ident = uuid7()
    plain = json.dumps(["", text], ensure_ascii=False).encode()
    MemoryLine.objects.create(
        id=ident,
        tenant_id=row.tenant_id,
        session_id=row.id,
        subject_id=row.subject_id,
        seq=2 * message.seq,
        role="assistant",
        body=vault().seal(cell(row.tenant_id, "memory_line", "body", ident), plain),
        tokens=estimate_tokens(text),
        said_at=message.created,
    )


def _drop_buffer(row: Session) -> None:
    """The next turn reads memory anew; where Redis does not answer, it goes on with what it knew."""
    client = connect_sync(settings.HUB_REDIS_URL, size=1)
    try:
        client.delete(f"memory:{row.tenant_id}:buffer:{row.id}")
    except RedisError as error:
        log.info("buffer_left_to_expire", reason=type(error).__name__)
    finally:
        client.close()


def chunk_of(posted: Posted) -> dict[str, Any]:
    """What watchers are told: the arguments of `hub.pipeline.messages.message_chunk`."""
    message = posted.message
    return {"role": message.role, "body": posted.body, "turn_id": message.turn_id, "status": message.status}
