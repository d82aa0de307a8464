"""Accept inbound events: translate, clean, seal, and make them durable together with whatever else arrives now."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from channels_adapters.types import (
    DeliveryReceipt,
    InboundEvent,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    Outcome,
    WebhookRequest,
)
from hub.ledger.accept import Accept, Accepted, Acceptor
from hub.ledger.claim import Claimed
from hub.ledger.settle import Settler
from hub.pipeline import crash, metrics
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import Unavailable
from hub.pipeline.places import Places
from hub.pipeline.rows import Recent, Rows, body_of
from tenants.crypto import Vault
from tenants.db.batching import Batcher, Overloaded
from tenants.ids import uuid7

log = structlog.get_logger(__name__)

AWAY = (psycopg.OperationalError, psycopg.errors.TransactionTimeout, PoolTimeout, PoolClosed, TooManyRequests)
"""What says that the database cannot store anything now."""
_SAID = (InboundMessage, MessageEdited, MessageDeleted)


class Inbox:
    """One per process. `leased` gets turns that the accept leased to this process, `due` sessions that wait."""

    def __init__(
        self,
        *,
        acceptor: Acceptor,
        settler: Settler,
        vault: Vault,
        recent: Recent,
        places: Places,
        lanes: int = 1,
    ) -> None:
        """`lanes`: writers side by side. One fills larger batches, two fill one while the other is written."""
        self._acceptor = acceptor
        self._settler = settler
        self._vault = vault
        self.rows = Rows(vault, recent, places)
        self._places = places
        self._batcher: Batcher[Accept, Accepted | None] = Batcher(self._write, lanes=lanes)
        self._placed: dict[UUID, Callable[[Accepted], None]] = {}
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
        self,
        connection: LiveConnection,
        request: WebhookRequest | None,
        events: Sequence[InboundEvent],
        *,
        hold: float = 0.0,
    ) -> list[Outcome]:
        """Store these events; durable when it returns. Raises Overloaded or Unavailable, then nothing is promised.

        `hold`: until when (unix time) a response is held open for their answer.
        """
        await self._ready(connection.tenant_id)
        rows: list[tuple[int, Accept]] = []
        outcomes = [Outcome.IGNORED] * len(events)
        receipts: list[tuple[str, str]] = []
        for place, event in enumerate(events):
            if isinstance(event, DeliveryReceipt):
                receipts.append((event.platform_id, event.kind.value))
                outcomes[place] = Outcome.NOTED
            elif isinstance(event, _SAID):
                row = await self._row_or_poison(connection, request, event, hold)
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
        hold: float,
    ) -> Accept | None:
        try:
            key = connection.adapter.dedupe_key(event, request) if request else event.external_id
            body = replace(body_of(event), hold=hold) if hold else None
            return self.rows.row(connection, event, key, body=body, runner=self.runner())
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
        size = len(row.body) + len(row.address)
        return self._batcher.enqueue(row, lane=zlib.crc32(row.address_hash), size=size, owner=row.connection_id)

    async def _write(self, rows: Sequence[Accept]) -> Sequence[Accepted | BaseException | None]:
        crash.point("accept.before_commit")
        results = await self._acceptor.write(rows)
        crash.point("accept.after_commit")
        turns: dict[UUID, list[tuple[Accept, Accepted]]] = {}
        for row, result in zip(rows, results, strict=True):
            if not isinstance(result, Accepted):
                self.rows.recent.take(row.message_id)
                continue
            if row.contact_id is not None:
                self.rows.know(row.contact_id)
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
        newcomer=first.newcomer,
    )


def outcome_of(accepted: Accepted | None) -> Outcome:
    """The outcome that an adapter acknowledges."""
    if accepted is None:
        return Outcome.DUPLICATE
    return _OUTCOMES.get(accepted.status, Outcome.NEW)


_OUTCOMES = {"refused": Outcome.REFUSED, "noted": Outcome.NOTED}
