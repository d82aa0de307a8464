"""What the pull doors need (web chat, SSE, completions): say, read, watch and stop, under one cursor."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from channels_adapters.types import Address, Attachment, InboundMessage
from hub.ledger.accept import Accept, Accepted
from hub.pipeline.bodies import Body, body_cell, clean, pack_address, pack_attachment, unpack
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import Unavailable
from hub.pipeline.inbox import AWAY, Inbox
from hub.pipeline.messages import History, StoredMessage, message_chunk
from hub.pipeline.pages import Pages
from hub.pipeline.remote import RedisLink
from hub.pipeline.runner import Runner
from hub.pipeline.stream import Cursor, Watch
from hub.pipeline.streams import Streams
from hub.pipeline.uploads import Uploads
from memory.memory import Memory
from tenants.crypto import Vault
from tenants.db.pools import Pools

_SESSION = "SELECT id FROM session WHERE connection_id = %s AND address_hash = %s AND current"
_BODY = "SELECT body FROM message WHERE id = %s"
_DUPLICATE = """
SELECT m.session_id, m.id, m.seq FROM message_key k JOIN message m ON m.id = k.message_id
WHERE k.connection_id = %s AND k.key_hash = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message is stored. `duplicate`: it was stored before, under the same client id."""

    session_id: UUID
    message_id: UUID
    seq: int
    duplicate: bool
    status: str
    reason: str
    turn_id: UUID | None = None
    """The turn that answers it, where that began with it in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What is said. `client_id` makes a repetition recognisable; `options` are an API caller's (see `inputs`)."""

    conversation: str
    sender_id: str
    client_id: str
    text: str
    sender_name: str = ""
    attachments: Sequence[Attachment] = ()
    role: str = "user"
    tool_call_id: str = ""
    options: Mapping[str, Any] | None = None
    ephemeral: bool = False
    edits: Mapping[str, Any] | None = None
    """`id` and `seq` of the message that this one says anew."""
    form: Mapping[str, str] | None = None
    """What the page asked before."""
    once: str = ""
    """A name under which it may be said once on this connection, in whatever conversation."""

    @property
    def key(self) -> str:
        """What makes a repetition: clients choose their ids, so another conversation's same id is another message."""
        return self.once or f"{self.conversation} {self.client_id}"

    def event(self) -> InboundMessage:
        """As an adapter would have told it."""
        return InboundMessage(
            external_id=clean(self.client_id),
            sender_id=self.sender_id,
            sender_name=clean(self.sender_name)[:200],
            address=Address(conversation=self.conversation),
            text=clean(self.text),
            attachments=self.attachments,
        )

    def body(self) -> Body:
        """As it is stored."""
        return Body(
            text=clean(self.text),
            attachments=[pack_attachment(item) for item in self.attachments],
            sender_name=clean(self.sender_name)[:200],
            external_id=clean(self.client_id),
            address=pack_address(Address(conversation=self.conversation)),
            tool_call_id=self.tool_call_id,
            options=self.options or {},
            edits=self.edits or {},
            form=self.form or {},
        )


class Chat:
    """One per process."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        streams: Streams,
        pools: Pools,
        vault: Vault,
        history: History,
        memory: Memory,
        runner: Runner | None,
    ) -> None:
        self._inbox, self._streams, self._pools, self._vault = inbox, streams, pools, vault
        self._history = history
        self._runner = runner
        self.pages = Pages(pools=pools, vault=vault, rows=inbox.rows, streams=streams, memory=memory)
        self.uploads = Uploads(pools, vault)
        self.link: RedisLink | None = None

    async def session_id(self, connection: LiveConnection, conversation: str) -> UUID | None:
        """The conversation's session, or None before its first message. Raises Unavailable."""
        try:
            await self._vault.load(connection.tenant_id)
            hashed = self._inbox.rows.address_hash(connection, Address(conversation=conversation))
            async with self._pools.statement("ingest") as conn:
                row = await (await conn.execute(_SESSION, (connection.id, hashed))).fetchone()
        except AWAY as error:
            raise Unavailable from error
        return None if row is None else row[0]

    async def say(self, connection: LiveConnection, **fields: Any) -> Said:
        """Store a message (the fields of `Utterance`); durable when it returns.

        Raises Overloaded or Unavailable: then nothing was promised and the same call may be made again.
        """
        said, watch = await self._say(connection, Utterance(**fields), watching=False)
        assert watch is None  # noqa: S101 (nobody asked for one)
        return said

    @asynccontextmanager
    async def ask(self, connection: LiveConnection, **fields: Any) -> AsyncIterator[tuple[Said, Watch]]:
        """As `say`, with a watch that begins at the message; for a turn of this process nothing is read for it."""
        said, watch = await self._say(connection, Utterance(**fields), watching=True)
        if watch is None:
            cursor = Cursor(said.seq)
            async with self._streams.watch(connection.tenant_id, said.session_id, cursor) as other:
                yield said, other
            return
        try:
            yield said, watch
        finally:
            self._streams.leave(watch)

    async def _say(
        self, connection: LiveConnection, utterance: "Utterance", *, watching: bool
    ) -> tuple[Said, Watch | None]:
        try:
            await self._vault.load(connection.tenant_id)
        except AWAY as error:
            raise Unavailable from error
        body = utterance.body()
        row = self._row(connection, utterance, body)
        watches: list[Watch] = []

        def placed(accepted: Accepted) -> None:
            self._tell(connection, accepted, body, utterance.role)
            if watching and accepted.turn_id is not None:
                watches.append(self._streams.join(connection.tenant_id, accepted.session_id, Cursor(accepted.seq)))

        early = self._runner.anticipate(connection, row, body) if self._runner is not None else None
        try:
            accepted = await self._inbox.store(row, placed)
        except BaseException:  # cancelled too: nobody would end these watches
            for watch in watches:
                self._streams.leave(watch)
            raise
        finally:
            if early is not None and self._runner is not None:
                self._runner.forget(early)
        if accepted is None:
            return await self._said_before(connection, row.key_hash), None
        return _said(accepted), watches[0] if watches else None

    def _row(self, connection: LiveConnection, utterance: "Utterance", body: Body) -> Accept:
        return self._inbox.rows.row(
            connection,
            utterance.event(),
            utterance.key,
            body=body,
            role=utterance.role,
            ephemeral=utterance.ephemeral,
            runner=self._inbox.runner(),
        )

    async def find(self, connection: LiveConnection, key: str) -> Said | None:
        """A message of this connection by its dedupe key, or None. Raises Unavailable."""
        try:
            await self._vault.load(connection.tenant_id)
            return await self._stored(connection, self._inbox.rows.key_hash(connection, key))
        except AWAY as error:
            raise Unavailable from error

    async def bind(
        self, connection: LiveConnection, *, conversation: str, sender_id: str, client_id: str, uploads: Sequence[UUID]
    ) -> list[Attachment]:
        """The sender's files, kept for the message that will be said under this client id. Raises UploadUnknown."""
        if not uploads:
            return []
        utterance = Utterance(conversation=conversation, sender_id=sender_id, client_id=client_id, text="")
        try:
            await self._vault.load(connection.tenant_id)
        except AWAY as error:
            raise Unavailable from error
        key_hash = self._inbox.rows.key_hash(connection, utterance.key)
        return await self.uploads.bind(connection, sender_id, uploads, key_hash=key_hash)

    async def body(self, connection: LiveConnection, said: Said) -> Body | None:
        """What a stored message says, or None when it is gone. Raises Unavailable."""
        try:
            await self._vault.load(connection.tenant_id)
            async with self._pools.app(connection.tenant_id) as conn:
                row = await (await conn.execute(_BODY, (said.message_id,))).fetchone()
        except AWAY as error:
            raise Unavailable from error
        cell = body_cell(connection.tenant_id, said.message_id)
        return None if row is None else unpack(self._vault.open(cell, bytes(row[0])))

    def _tell(self, connection: LiveConnection, accepted: Accepted, body: Body, role: str) -> None:
        chunk = message_chunk(
            accepted.message_id,
            accepted.seq,
            role=role,
            body=body,
            turn_id=None,
            status=accepted.status,
            reason=accepted.reason,
        )
        self._streams.stored(connection.tenant_id, accepted.session_id, chunk)

    async def said(self, connection: LiveConnection, conversation: str, client_id: str) -> bool:
        """Whether this very message was stored already. Raises Unavailable."""
        utterance = Utterance(conversation=conversation, sender_id=conversation, client_id=client_id, text="")
        return await self.find(connection, utterance.key) is not None

    async def _said_before(self, connection: LiveConnection, key_hash: bytes) -> Said:
        try:
            said = await self._stored(connection, key_hash)
        except AWAY as error:
            raise Unavailable from error
        if said is None:  # its row is older than the messages that are kept
            raise Unavailable
        return said

    async def _stored(self, connection: LiveConnection, key_hash: bytes) -> Said | None:
        async with self._pools.statement("ingest") as conn:
            row = await (await conn.execute(_DUPLICATE, (connection.id, key_hash))).fetchone()
        if row is None:
            return None
        session_id, message_id, seq = row
        return Said(session_id=session_id, message_id=message_id, seq=seq, duplicate=True, status="accepted", reason="")

    async def history(
        self, tenant_id: UUID, session_id: UUID, *, after: int = 0, before: int | None = None, limit: int = 50
    ) -> list[StoredMessage]:
        """Stored messages, oldest first; with `before` the last ones ahead of it. Raises Unavailable."""
        try:
            return await self._history.read(tenant_id, session_id, after=after, before=before, limit=limit)
        except AWAY as error:
            raise Unavailable from error

    def announce(self, connection: LiveConnection, conversation: str, session_id: UUID) -> None:
        """Tell the other gateways that a session began; what they miss they find in the database."""
        if self.link is not None:
            self.link.tell_began(connection.id, conversation, session_id)

    async def stop(self, tenant_id: UUID, session_id: UUID) -> bool:  # noqa: ARG002 (the session id is unguessable)
        """End the session's running turn with what it has; False when none runs here (others are told)."""
        if self._runner is not None and self._runner.stop_turn(session_id):
            return True
        if self.link is not None:
            self.link.stop_turn(session_id)
        return False

    @asynccontextmanager
    async def watch(self, tenant_id: UUID, session_id: UUID, cursor: Cursor) -> AsyncIterator[Watch]:
        """Watch a session from a cursor; see `hub.pipeline.streams`."""
        async with self._streams.watch(tenant_id, session_id, cursor) as watch:
            yield watch


def _said(accepted: Accepted) -> Said:
    return Said(
        session_id=accepted.session_id,
        message_id=accepted.message_id,
        seq=accepted.seq,
        duplicate=False,
        status=accepted.status,
        reason=accepted.reason,
        turn_id=accepted.turn_id,
    )
