"""Accept inbound events: translate, clean, seal, and make them durable together with whatever else arrives now."""

import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from channels_adapters.types import (
    Address,
    DeliveryReceipt,
    InboundEvent,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    Outcome,
    WebhookRequest,
)
from hub.ledger.accept import Accept, Accepted, Acceptor
from hub.ledger.batching import Batcher, Overloaded
from hub.ledger.claim import Claimed
from hub.ledger.settle import Settler
from hub.pipeline import crash, metrics
from hub.pipeline.bodies import Body, body_cell, clean, pack, pack_address, pack_attachment
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import Unavailable
from hub.pipeline.places import Places
from memory.tokens import estimate_tokens
from tenants.crypto import CellRef, Vault
from tenants.ids import uuid7

log = structlog.get_logger(__name__)

AWAY = (psycopg.OperationalError, psycopg.errors.TransactionTimeout, PoolTimeout, PoolClosed, TooManyRequests)
"""What says that the database cannot store anything now."""
_RECENT = 8192
_KNOWN_CONTACTS = 50_000


class Recent:
    """Bodies that this process has just stored, so that its runner need not read and open them again."""

    def __init__(self, most: int = _RECENT) -> None:
        self._bodies: OrderedDict[UUID, Body] = OrderedDict()
        self._most = most

    def put(self, message_id: UUID, body: Body) -> None:
        """Remember a body until it is taken or too many came after it."""
        self._bodies[message_id] = body
        if len(self._bodies) > self._most:
            self._bodies.popitem(last=False)

    def take(self, message_id: UUID) -> Body | None:
        """The body, once."""
        return self._bodies.pop(message_id, None)


class Inbox:
    """One per process. `leased` gets turns that the accept leased to this process, `due` sessions that wait."""

    def __init__(self, *, acceptor: Acceptor, settler: Settler, vault: Vault, recent: Recent, places: Places) -> None:
        self._acceptor = acceptor
        self._settler = settler
        self._vault = vault
        self._recent = recent
        self._places = places
        self._batcher: Batcher[Accept, Accepted | None] = Batcher(self._write, lanes=2)
        self._placed: dict[UUID, Callable[[Accepted], None]] = {}
        self._contacts: OrderedDict[UUID, None] = OrderedDict()
        self.runner: Callable[[], UUID | None] = lambda: None
        """The worker id of a local runner with room for a turn, or None."""
        self.leased: Callable[[Claimed], None] = lambda _: None
        self.due: Callable[[UUID], None] = lambda _: None
        self.full: Callable[[], bool] = lambda: False
        """Whether this process must not take anything more now (see `pressure`)."""

    @property
    def waiting(self) -> int:
        """Messages that wait for the writer."""
        return self._batcher.waiting

    async def close(self) -> None:
        """Write what waits, take nothing more."""
        await self._batcher.close()

    async def accept(
        self, connection: LiveConnection, request: WebhookRequest | None, events: Sequence[InboundEvent]
    ) -> list[Outcome]:
        """Store these events; durable when it returns. Raises Overloaded or Unavailable, then nothing is promised."""
        await self._ready(connection.tenant_id)
        rows: list[tuple[int, Accept]] = []
        outcomes = [Outcome.IGNORED] * len(events)
        receipts: list[tuple[str, str]] = []
        for place, event in enumerate(events):
            if isinstance(event, DeliveryReceipt):
                receipts.append((event.platform_id, event.kind.value))
                outcomes[place] = Outcome.NOTED
            elif isinstance(event, InboundMessage | MessageEdited | MessageDeleted):
                row = await self._row_or_poison(connection, request, event)
                if row is not None:
                    rows.append((place, row))
        futures = [(place, self.submit(row)) for place, row in rows]
        if receipts:
            await self._guarded(self._settler.receipts(connection.id, receipts))
        for place, future in futures:
            outcomes[place] = await self._outcome(connection, future)
        return outcomes

    async def _row_or_poison(
        self,
        connection: LiveConnection,
        request: WebhookRequest | None,
        event: InboundMessage | MessageEdited | MessageDeleted,
    ) -> Accept | None:
        try:
            key = connection.adapter.dedupe_key(event, request) if request else event.external_id
            return self.row(connection, event, key)
        except (UnicodeError, TypeError, ValueError) as error:  # such as an id that is no text
            await self._poison(connection, error)
            return None

    async def _outcome(self, connection: LiveConnection, future: "object") -> Outcome:
        try:
            accepted = await self._guarded(future)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            await self._poison(connection, error)
            return Outcome.IGNORED
        return outcome_of(accepted)

    async def _poison(self, connection: LiveConnection, error: Exception) -> None:
        """A message that no row can hold: counted and recorded, never asked for again."""
        metrics.POISON.inc()
        log.warning("message_not_storable", reason=type(error).__name__)
        data = orjson.dumps({"reason": type(error).__name__}).decode()
        await self._guarded(self._acceptor.note(uuid7(), connection.tenant_id, connection.id, data))

    async def _guarded(self, awaitable: "object") -> "Accepted | None":
        try:
            return await awaitable  # type: ignore[misc, no-any-return]
        except AWAY as error:
            log.warning("storage_away", reason=type(error).__name__)
            raise Unavailable from error

    async def _ready(self, tenant_id: UUID) -> None:
        try:
            await self._vault.load(tenant_id)
        except AWAY as error:
            raise Unavailable from error

    async def store(self, row: Accept, placed: Callable[[Accepted], None] | None = None) -> Accepted | None:
        """Store one prepared row; None means duplicate. Raises as `accept`.

        `placed` is called when the row is committed and before its turn begins.
        """
        if placed is not None:
            self._placed[row.message_id] = placed
        try:
            return await self._guarded(self.submit(row))
        finally:
            self._placed.pop(row.message_id, None)

    def submit(self, row: Accept) -> "object":
        """Put a row in line; rows of one session keep their order. Raises Overloaded."""
        if self.full():
            raise Overloaded(retry_after=5.0)
        return self._batcher.enqueue(row, lane=zlib.crc32(row.address_hash), size=len(row.body) + len(row.address))

    def address_hash(self, connection: LiveConnection, address: Address) -> bytes:
        """What makes two addresses the same session; the tenant's keys must be loaded."""
        place = f"address\0{connection.id}\0{address.conversation}\0{address.thread}"
        return self._vault.blind(connection.tenant_id, place.encode())

    def key_hash(self, connection: LiveConnection, key: str) -> bytes:
        """What makes two deliveries the same message; the tenant's keys must be loaded."""
        return self._vault.blind(connection.tenant_id, f"message\0{connection.id}\0{clean(key)}".encode())

    def row(
        self,
        connection: LiveConnection,
        event: InboundMessage | MessageEdited | MessageDeleted,
        key: str,
        *,
        body: Body | None = None,
        role: str = "user",
        ephemeral: bool = False,
    ) -> Accept:
        """The event as a row of the accept statement, sealed. The tenant's keys must be loaded."""
        tenant_id, vault = connection.tenant_id, self._vault
        message_id, session_id = uuid7(), uuid7()
        sender = "" if isinstance(event, MessageDeleted) else event.sender_id
        contact_id = UUID(bytes=vault.blind(tenant_id, f"contact\0{connection.id}\0{sender}".encode()))
        body = body or body_of(event)
        self._recent.put(message_id, body)
        group = isinstance(event, InboundMessage) and event.group
        return Accept(
            message_id=message_id,
            tenant_id=tenant_id,
            connection_id=connection.id,
            key_hash=self.key_hash(connection, key),
            session_id=session_id,
            address_hash=self.address_hash(connection, event.address),
            address=vault.seal(
                CellRef(tenant_id, "content", "session", "address", session_id),
                orjson.dumps(pack_address(event.address)),
            ),
            agent_id=connection.agent_id,
            contact_id=contact_id,
            contact_external=self._new_contact(tenant_id, contact_id, sender, "external"),
            contact_name=self._new_contact(tenant_id, contact_id, body.sender_name, "name"),
            subject_id=session_id if group else contact_id,
            body=vault.seal(body_cell(tenant_id, message_id), pack(body)),
            role=role,
            tokens=estimate_tokens(body.text),
            answer=isinstance(event, InboundMessage) and event.addressed,
            merge=connection.merge,
            debounce_ms=connection.debounce_ms,
            turn_id=uuid7(),
            runner=self.runner() if connection.debounce_ms == 0 else None,
            ephemeral=ephemeral,
        )

    def _new_contact(self, tenant_id: UUID, contact_id: UUID, value: str, column: str) -> bytes | None:
        if contact_id in self._contacts:
            return None
        return self._vault.seal(CellRef(tenant_id, "content", "contact", column, contact_id), clean(value).encode())

    async def _write(self, rows: Sequence[Accept]) -> Sequence[Accepted | BaseException | None]:
        crash.point("accept.before_commit")
        results = await self._acceptor.write(rows)
        crash.point("accept.after_commit")
        turns: dict[UUID, list[tuple[Accept, Accepted]]] = {}
        for row, result in zip(rows, results, strict=True):
            if not isinstance(result, Accepted):
                self._recent.take(row.message_id)
                continue
            if row.contact_id is not None:
                self._know(row.contact_id)
            self._places.accepted(row, result)
            self._places.accepted(row, result)
            if (placed := self._placed.get(row.message_id)) is not None:
                placed(result)
            if result.turn_id is not None:
                turns.setdefault(result.turn_id, []).append((row, result))
            elif result.due:
                self.due(result.session_id)
        for turn_id, members in turns.items():
            self.leased(_claimed(turn_id, members))
        metrics.ACCEPTED.inc(len(rows))
        return results

    def _know(self, contact_id: UUID) -> None:
        self._contacts[contact_id] = None
        if len(self._contacts) > _KNOWN_CONTACTS:
            self._contacts.popitem(last=False)


def _claimed(turn_id: UUID, members: Sequence[tuple[Accept, Accepted]]) -> Claimed:
    row, first = members[0]
    return Claimed(
        session_id=first.session_id,
        tenant_id=row.tenant_id,
        connection_id=row.connection_id,
        agent_id=first.agent_id,
        subject_id=first.subject_id,
        fence=first.fence,
        version=first.version,
        unsettled=first.unsettled,
        turn_id=turn_id,
        kind="reply",
        reason="",
        attempts=1,
        messages=tuple(sorted((result.seq, result.message_id) for _, result in members)),
    )


def outcome_of(accepted: Accepted | None) -> Outcome:
    """The outcome that an adapter acknowledges."""
    if accepted is None:
        return Outcome.DUPLICATE
    return {"refused": Outcome.REFUSED, "noted": Outcome.NOTED}.get(accepted.status, Outcome.NEW)


def body_of(event: InboundMessage | MessageEdited | MessageDeleted) -> Body:
    """The event's content, cleaned."""
    if isinstance(event, MessageDeleted):
        return Body(external_id=clean(event.external_id), action="deleted")
    if isinstance(event, MessageEdited):
        return Body(text=clean(event.text), external_id=clean(event.external_id), action="edited")
    return Body(
        text=clean(event.text),
        attachments=[pack_attachment(item) for item in event.attachments],
        sender_name=clean(event.sender_name)[:200],
        external_id=clean(event.external_id),
        address=pack_address(event.address),
        action=clean(event.action),
        group=event.group,
    )
