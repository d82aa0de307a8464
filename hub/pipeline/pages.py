"""What a visitor's page keeps and asks beside the stream: how far it was read, what may be said anew, who it is."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from channels_adapters.types import Address, Attachment
from hub.pipeline.bodies import Body, body_cell, clean, pack_address, unpack, unpack_attachment
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import Unavailable
from hub.pipeline.inbox import AWAY
from hub.pipeline.messages import READ_MARK, SUPERSEDED
from hub.pipeline.rows import Rows
from hub.pipeline.stream import Chunk
from hub.pipeline.streams import Streams
from hub.pipeline.uploads import hand_over, owner_of
from memory import retracting
from memory.memory import Memory
from memory.types import Key
from tenants.crypto import CellRef, Vault
from tenants.db.pools import Pools

MOST_UNREAD = 100
SETTLE_SECONDS = 2.0
SETTLE_LOOKS = 40
_NO_END = 1 << 62

_UNREAD = """
SELECT count(*) FROM (
    SELECT 1 FROM message WHERE session_id = %s AND role = 'assistant'
      AND seq > coalesce((SELECT seq FROM read_mark WHERE id = %s), 0) LIMIT %s
) unread
"""
_MARK = """
INSERT INTO read_mark (id, tenant_id, seq, updated)
SELECT s.id, s.tenant_id, least(%s, s.last_seq), now() FROM session s WHERE s.id = %s
ON CONFLICT (id) DO UPDATE SET seq = greatest(read_mark.seq, EXCLUDED.seq), updated = now() RETURNING seq
"""
_ORIGINAL = """
SELECT m.seq, m.body, m.reason, s.subject_id FROM message m JOIN session s ON s.id = m.session_id
WHERE m.id = %s AND m.session_id = %s AND m.role = 'user'
"""
_CURRENT = """
SELECT id, subject_id, turn_id IS NOT NULL OR due_turns > 0 FROM session
WHERE connection_id = %s AND address_hash = %s AND current FOR UPDATE
"""
_CONTACT = """
INSERT INTO contact (id, tenant_id, connection_id, external, name, blocked, created)
VALUES (%s, %s, %s, %s, %s, false, now()) ON CONFLICT (id) DO NOTHING
"""
_RUNNING = "SELECT 1 FROM session WHERE id = %s AND turn_id IS NOT NULL"
_MOVE = "UPDATE session SET address_hash = %s, address = %s, contact_id = %s, subject_id = %s WHERE id = %s"
_END = "UPDATE session SET current = false, contact_id = %s, subject_id = %s WHERE id = %s"


class NotEditable(Exception):
    """A message cannot be said anew; `code` is `unknown_message` or `not_editable`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Busy(Exception):
    """The conversation is being answered or condensed: it can be moved a moment later."""


@dataclass(frozen=True, slots=True)
class Original:
    """A message that is to be said anew."""

    id: UUID
    seq: int
    body: Body
    subject_id: UUID

    @property
    def attachments(self) -> Sequence[Attachment]:
        """Its files."""
        return tuple(unpack_attachment(item) for item in self.body.attachments)


class Pages:
    """One per process; every method raises Unavailable while the database does not answer."""

    def __init__(self, *, pools: Pools, vault: Vault, rows: Rows, streams: Streams, memory: Memory) -> None:
        self._pools, self._vault, self._rows, self._streams = pools, vault, rows, streams
        self._memory = memory

    async def standing(self, tenant_id: UUID, session_id: UUID) -> tuple[int, int]:
        """How far the visitor has read, and how many answers came after that (counted up to 100)."""
        try:
            read, unread = await self._pools.look(
                tenant_id, (READ_MARK, [session_id]), (_UNREAD, [session_id, session_id, MOST_UNREAD])
            )
        except AWAY as error:
            raise Unavailable from error
        return (int(read[0][0]) if read else 0), int(unread[0][0])

    async def mark_read(self, tenant_id: UUID, session_id: UUID, seq: int) -> int:
        """Note that everything up to `seq` was seen, tell the other pages; returns the position, which only rises."""
        try:
            async with self._pools.app(tenant_id) as conn:
                row = await (await conn.execute(_MARK, (seq, session_id))).fetchone()
        except AWAY as error:
            raise Unavailable from error
        position = int(row[0]) if row else 0
        self._streams.tell(tenant_id, session_id, Chunk("read", {"seq": position}))
        return position

    async def original(self, tenant_id: UUID, session_id: UUID, message_id: UUID) -> Original:
        """The visitor's message that is to be said anew. Raises NotEditable."""
        try:
            await self._vault.load(tenant_id)
            async with self._pools.app(tenant_id) as conn:
                row: Any = await (await conn.execute(_ORIGINAL, (message_id, session_id))).fetchone()
                if row is None:
                    raise NotEditable("unknown_message")
                key = Key(tenant_id=tenant_id, session_id=session_id, subject_id=row[3])
                if row[2] == SUPERSEDED or await retracting.is_condensed(conn, key, first=2 * row[0]):
                    raise NotEditable("not_editable")
        except AWAY as error:
            raise Unavailable from error
        body = unpack(self._vault.open(body_cell(tenant_id, message_id), bytes(row[1])))
        return Original(message_id, row[0], body, row[3])

    async def take_back(self, tenant_id: UUID, session_id: UUID, original: Original) -> None:
        """Before a message is said anew, take what followed it out of memory, so that its own turn recalls none of it.

        Waits a moment for an answer that was just stopped: it is to be stored before what is said next.
        """
        try:
            for _ in range(SETTLE_LOOKS):
                [rows] = await self._pools.look(tenant_id, (_RUNNING, [session_id]))
                if not rows:
                    break
                await asyncio.sleep(SETTLE_SECONDS / SETTLE_LOOKS)
            key = Key(tenant_id=tenant_id, session_id=session_id, subject_id=original.subject_id)
            await self._memory.retract(key, first=2 * original.seq, end=_NO_END)
        except AWAY as error:
            raise Unavailable from error

    async def join(self, connection: LiveConnection, *, before: str, after: str, name: str) -> tuple[UUID | None, bool]:
        """The visitor `before` turned out to be `after`: hand the conversation over.

        Returns the session that goes on and whether it is the one that was anonymous. Raises Busy.
        """
        try:
            await self._vault.load(connection.tenant_id)
            async with self._pools.app(connection.tenant_id) as conn:
                joining = _Joining(conn, self._vault, self._rows, connection)
                joined = await joining.run(before, after, clean(name)[:200])
        except AWAY as error:
            raise Unavailable from error
        if joining.subject_id is not None:
            await self._memory.recheck(connection.tenant_id, joining.subject_id)
        return joined


class _Joining:
    """One hand-over, in one transaction; the sessions' rows are locked, so no turn begins meanwhile."""

    def __init__(self, conn: Any, vault: Vault, rows: Rows, connection: LiveConnection) -> None:
        self._conn, self._vault, self._rows, self._connection = conn, vault, rows, connection
        self.subject_id: UUID | None = None
        """Whose memory the conversation is now."""

    async def run(self, before: str, after: str, name: str) -> tuple[UUID | None, bool]:
        anonymous = await self._session(before)
        known = await self._session(after)
        await hand_over(self._conn, self._connection.id, before=self._owner(before), after=self._owner(after))
        if anonymous is None:
            return (known[0] if known else None), False
        tenant_id, (session_id, subject_id, busy) = self._connection.tenant_id, anonymous
        key = Key(tenant_id=tenant_id, session_id=session_id, subject_id=subject_id)
        if busy or await retracting.is_condensing(self._conn, key):
            raise Busy
        contact_id = await self._contact(after, name)
        self.subject_id = subject = known[1] if known else contact_id
        await retracting.reassign(self._conn, key, subject_id=subject)
        if known:
            await self._conn.execute(_END, (contact_id, subject, session_id))
            return known[0], False
        cell = CellRef(tenant_id, "content", "session", "address", session_id)
        address = self._vault.seal(cell, orjson.dumps(pack_address(Address(conversation=after))))
        await self._conn.execute(_MOVE, (self._hash(after), address, contact_id, subject, session_id))
        return session_id, True

    async def _session(self, conversation: str) -> tuple[UUID, UUID, bool] | None:
        cursor = await self._conn.execute(_CURRENT, (self._connection.id, self._hash(conversation)))
        found: tuple[UUID, UUID, bool] | None = await cursor.fetchone()
        return found

    async def _contact(self, external: str, name: str) -> UUID:
        tenant_id = self._connection.tenant_id
        ident = self._rows.contact_id(self._connection, external)
        sealed = [
            self._vault.seal(CellRef(tenant_id, "content", "contact", column, ident), value.encode())
            for column, value in (("external", external), ("name", name))
        ]
        await self._conn.execute(_CONTACT, (ident, tenant_id, self._connection.id, *sealed))
        return ident

    def _hash(self, conversation: str) -> bytes:
        return self._rows.address_hash(self._connection, Address(conversation=conversation))

    def _owner(self, visitor: str) -> bytes:
        return owner_of(self._vault, self._connection, visitor)
