"""Stored messages as doors show them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hub.pipeline.bodies import Body, body_cell, partial_cell, unpack, unpack_partial
from hub.pipeline.stream import Chunk, Running
from tenants.crypto import Vault
from tenants.db.pools import Pools

_AFTER = """
SELECT id, seq, role, body, turn_id, status, reason, created, model FROM message
WHERE session_id = %s AND seq > %s ORDER BY seq LIMIT %s
"""
_BEFORE = """
SELECT * FROM (
    SELECT id, seq, role, body, turn_id, status, reason, created, model FROM message
    WHERE session_id = %s AND seq > %s AND seq < %s ORDER BY seq DESC LIMIT %s
) latest ORDER BY seq
"""
_SAVED = """
SELECT t.id, t.fence, t.partial FROM session s JOIN turn t ON t.id = s.turn_id
WHERE s.id = %s AND t.status = 'running' AND t.partial IS NOT NULL
"""
READ_MARK = "SELECT seq FROM read_mark WHERE id = %s"
"""How far a session's visitor has read; no row before the first time."""
MOST_AT_ONCE = 200
NEWEST = 50
"""What a newcomer gets, and who was away too long."""
SUPERSEDED = "superseded"
"""The reason of a message that was said anew, and of what followed it."""
_BEYOND = 1 << 62
_OPTIONAL: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    *((name, list) for name in ("attachments", "quick_replies", "tool_calls", "citations")),
    *((name, str) for name in ("finish", "model", "sender_name", "client_id", "edits")),
    *((name, dict) for name in ("form", "usage")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message of a session, in the clear."""

    id: UUID
    seq: int
    role: str
    text: str
    attachments: Sequence[Mapping[str, Any]]
    quick_replies: Sequence[str]
    tool_calls: Sequence[Mapping[str, Any]]
    turn_id: UUID | None
    status: str
    reason: str
    created: datetime
    usage: Mapping[str, int]
    finish: str
    model: str
    sender_name: str = ""
    client_id: str = ""
    edits: str = ""
    """The id of the message that this one says anew."""
    form: Mapping[str, str] = field(default_factory=dict)
    citations: Sequence[Mapping[str, Any]] = ()

    def as_json(self) -> dict[str, Any]:
        """What doors send: empty fields left out."""
        found: dict[str, Any] = {
            "id": str(self.id),
            "seq": self.seq,
            "role": self.role,
            "text": self.text,
            "status": self.status,
            "created": self.created.isoformat(),
        }
        if self.turn_id is not None:
            found["turn_id"] = str(self.turn_id)
        for name, plain in _OPTIONAL:
            if value := getattr(self, name):
                found[name] = plain(value)
        if self.reason:
            found |= {"superseded": True} if self.reason == SUPERSEDED else {"reason": self.reason}
        return found


def stored_message(
    message_id: UUID,
    seq: int,
    *,
    role: str,
    body: Body,
    turn_id: UUID | None,
    status: str,
    reason: str = "",
    created: datetime | None = None,
    model: str = "",
) -> StoredMessage:
    """A message from its row and opened body."""
    return StoredMessage(
        id=message_id,
        seq=seq,
        role=role,
        text=body.text,
        attachments=body.attachments,
        quick_replies=body.quick_replies,
        tool_calls=body.tool_calls,
        turn_id=turn_id,
        status=status,
        reason=reason,
        created=created or datetime.now(UTC),
        usage=body.usage,
        finish=body.finish,
        model=model,
        sender_name=body.sender_name,
        client_id=body.external_id if role == "user" else "",
        edits=str(body.edits.get("id", "")),
        form=body.form,
        citations=body.citations,
    )


def message_chunk(
    message_id: UUID,
    seq: int,
    *,
    role: str,
    body: Body,
    turn_id: UUID | None,
    status: str,
    model: str = "",
    reason: str = "",
) -> Chunk:
    """A message that was just stored, for its watchers."""
    message = stored_message(
        message_id, seq, role=role, body=body, turn_id=turn_id, status=status, model=model, reason=reason
    )
    return chunk_of(message)


def chunk_of(message: StoredMessage) -> Chunk:
    """A stored message as a stream event."""
    return Chunk("message", message.as_json(), seq=message.seq, size=len(message.text) + 256)


class History:
    """Reads sessions' messages under their tenant."""

    def __init__(self, pools: Pools, vault: Vault) -> None:
        self._pools = pools
        self._vault = vault

    async def read(
        self, tenant_id: UUID, session_id: UUID, *, after: int = 0, before: int | None = None, limit: int = 50
    ) -> list[StoredMessage]:
        """Messages with `after < seq < before`, oldest first: the first `limit`, or with `before` the last `limit`."""
        await self._vault.load(tenant_id)
        limit = max(1, min(limit, MOST_AT_ONCE))
        async with self._pools.app(tenant_id) as conn:
            if before is None:
                cursor = await conn.execute(_AFTER, (session_id, after, limit))
            else:
                cursor = await conn.execute(_BEFORE, (session_id, after, before, limit))
            rows = await cursor.fetchall()
        return [self._open(tenant_id, row) for row in rows]

    def _open(self, tenant_id: UUID, row: Sequence[Any]) -> StoredMessage:
        ident, seq, role, body, turn_id, status, reason, created, model = row
        opened = unpack(self._vault.open(body_cell(tenant_id, ident), bytes(body)))
        return stored_message(
            ident,
            seq,
            role=role,
            body=opened,
            turn_id=turn_id,
            status=status,
            reason=reason,
            created=created,
            model=model,
        )

    async def saved(self, tenant_id: UUID, session_id: UUID) -> Running | None:
        """The running turn's text as it was last stored, or None."""
        await self._vault.load(tenant_id)
        async with self._pools.app(tenant_id) as conn:
            row = await (await conn.execute(_SAVED, (session_id,))).fetchone()
        if row is None:
            return None
        turn_id, fence, partial = row
        index, text = unpack_partial(self._vault.open(partial_cell(tenant_id, turn_id), bytes(partial)))
        return Running(turn_id=str(turn_id), epoch=fence, index=index, text=text)

    async def seen(self, tenant_id: UUID, session_id: UUID) -> int:
        """The `seq` up to which the visitor has seen the session, on any page; 0 where nothing was."""
        async with self._pools.app(tenant_id) as conn:
            row = await (await conn.execute(READ_MARK, (session_id,))).fetchone()
        return int(row[0]) if row else 0

    async def chunks(self, tenant_id: UUID, session_id: UUID, after: int) -> list[Chunk]:
        """What was stored after `after`, as stream events.

        A newcomer (0) gets the most recent messages only, and so does who was away for too many: those who were here
        before are told of the gap by a `missed`.
        """
        if after:
            page = await self.read(tenant_id, session_id, after=after, limit=MOST_AT_ONCE)
            if len(page) < MOST_AT_ONCE:
                return [chunk_of(message) for message in page]
        recent = await self.read(tenant_id, session_id, after=after, before=_BEYOND, limit=NEWEST)
        found = [chunk_of(message) for message in recent]
        if after and recent:
            found.insert(0, Chunk("missed", {"after": after, "before": recent[0].seq}))
        return found
