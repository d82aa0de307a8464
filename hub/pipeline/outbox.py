"""Deliver parts in order: committed as `sending` before the network, settled after it, retried by one policy.

Adapters classify what went wrong; what follows is decided here and nowhere else.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg_pool import PoolTimeout

from channels_adapters.errors import (
    ChannelError,
    CredentialsRevoked,
    OutcomeUnknown,
    Permanent,
    Transient,
)
from channels_adapters.types import Address, Part, SentMessage
from hub.ledger.batching import Batcher, Closed, Overloaded
from hub.ledger.connections import Lease
from hub.ledger.settle import Sending, Settle, Settler
from hub.pipeline import crash, metrics
from hub.pipeline.bodies import unpack_address
from hub.pipeline.connections import Connections, LiveConnection
from hub.pipeline.live import from_row, packed_extra
from hub.pipeline.pacing import Pacer
from tenants.crypto import CellRef, Vault
from tenants.db.pools import Pools
from tenants.errors import TenantsError
from tenants.ids import uuid7

log = structlog.get_logger(__name__)

SEND_SECONDS = 40.0
"""A send that takes longer has an unknown outcome; shorter than the delivery's lease."""
_AWAY = (psycopg.OperationalError, psycopg.errors.TransactionTimeout, PoolTimeout, Overloaded)
_AWAY_SECONDS = 0.25
_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0
_FIXED_RETRY = 5.0
_MOST_AT_ONCE = 256
_RESENT_ATTEMPTS = 2
"""The attempt that `resend_once` allows after one whose outcome nobody knows."""

_READ = "SELECT id, address, part, platform_id, platform_extra FROM delivery WHERE id = ANY (%s)"
_PAUSE = "UPDATE connection SET status = 'paused', status_detail = %s, updated = now() WHERE id = %s"
_EVENT = """
INSERT INTO event (id, tenant_id, type, connection_id, session_id, delivery_id, data, created)
VALUES (%s, %s, %s, %s, %s, %s, %s, now())
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A delivery leased to us, with everything a send needs."""

    delivery_id: UUID
    tenant_id: UUID
    session_id: UUID
    connection: LiveConnection
    attempts: int
    expires_at: datetime
    address: Address
    part: Part
    shown: SentMessage | None
    """The message that is already visible on the platform and gets its last text."""
    stale: bool
    """An earlier attempt's outcome is not known."""
    live: bool = False
    """It opened a message that was to grow; alone it is only the beginning of an answer."""


class Outbox:
    """One per process."""

    def __init__(
        self,
        *,
        pools: Pools,
        vault: Vault,
        connections: Connections,
        settler: Settler,
        lease: Lease,
        worker_id: UUID,
        fixed_retries: bool = False,
    ) -> None:
        self.pools, self.vault, self.lease, self.worker_id = pools, vault, lease, worker_id
        self._connections = connections
        self._settler = settler
        self.settles: Batcher[Settle, Sending | bool] = Batcher(settler.write, max_items=128)
        self._fixed_retries = fixed_retries
        """HUB_RETRY_POLICY: the same wait before each try, or one that doubles."""
        self.pacer = Pacer()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def active(self) -> int:
        """Sends under way."""
        return len(self._tasks)

    def send_soon(self, ready: Ready) -> None:
        """Send a delivery that is leased to us, and what follows it in its session."""
        self._spawn(self._send_chain(ready))

    async def settle(self, settle: Settle) -> None:
        """Record an outcome; what it lets go is sent behind the caller's back."""
        following = await self._next(settle)
        if following is not None:
            self.send_soon(following)

    async def claim(self) -> int:
        """Send whatever is due; returns how many were taken."""
        room = _MOST_AT_ONCE - len(self._tasks)
        if room <= 0 or self._closing:
            return 0
        sendings = await self._settler.claim(limit=room)
        for ready in await self._patiently(lambda: self._load(sendings)):
            self.send_soon(ready)
        return len(sendings)

    async def drain(self, seconds: float) -> None:
        """Finish the sends under way, at most for `seconds`; take no more."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        for task in list(self._tasks):
            task.cancel()
        await self.settles.close()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _next(self, settle: Settle) -> Ready | None:
        """Settle; what was leased to us by it, ready to be sent."""
        metrics.DELIVERIES.labels(settle.status).inc()
        try:
            following = await self._patiently(lambda: self._settled(settle))
        except Closed:
            return None
        crash.point("settle.after")
        if not isinstance(following, Sending):
            return None
        loaded = await self._patiently(lambda: self._load([following]))
        return loaded[0] if loaded else None

    async def _settled(self, settle: Settle) -> Sending | bool:
        try:
            return await self.settles.submit(settle)
        except psycopg.DataError as error:  # what the platform said beside the outcome fits no row
            log.warning("outcome_not_storable", reason=type(error).__name__)
            return await self.settles.submit(replace(settle, platform_id="", platform_extra="{}", detail=""))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Wait for a database that is away while the delivery is still leased to us.

        An outcome that is known must not become unknown, and a delivery that was never sent not look as if it was.
        """
        until = time.monotonic() + self.lease.sending.total_seconds() - SEND_SECONDS
        while True:
            try:
                return await ask()
            except _AWAY as error:
                if time.monotonic() > until:
                    raise
                log.warning("outbox_waits", reason=type(error).__name__)
                await asyncio.sleep(_AWAY_SECONDS)

    async def _send_chain(self, ready: Ready) -> None:
        current: Ready | None = ready
        while current is not None:
            settle = await self._attempt(current)
            if settle.status in ("dead", "unknown"):
                await self._record(current, settle)
            current = await self._next(settle)

    async def _attempt(self, ready: Ready) -> Settle:
        if datetime.now(UTC) >= ready.expires_at:
            return _settle(ready, "dead", detail="too late: the delivery window is over")
        if not ready.connection.active:
            return _settle(ready, "dead", detail=f"the connection is {ready.connection.status}")
        if ready.stale and (decided := await self._resolve(ready)) is not None:
            return decided
        try:
            await self.pacer.wait(ready.connection, ready.address.conversation)
            crash.point("send.before")
            async with asyncio.timeout(SEND_SECONDS):
                sent = await self._send(ready)
            crash.point("send.after")
        except (ChannelError, TimeoutError) as error:
            return self._after(ready, error)
        except Exception as error:
            log.exception("send_failed_unexpectedly", delivery_id=str(ready.delivery_id))
            return self._after(ready, OutcomeUnknown(f"unexpected {type(error).__name__}"))
        return replace(
            _settle(ready, "sent"),
            platform_id=sent.platform_id,
            platform_extra=packed_extra(sent),
        )

    async def _send(self, ready: Ready) -> SentMessage:
        adapter, key = ready.connection.adapter, ready.delivery_id.hex
        if ready.shown is not None:
            return await adapter.finish(ready.address, ready.shown, ready.part, key=key)
        return await adapter.send(ready.address, ready.part, key=key)

    async def _resolve(self, ready: Ready) -> Settle | None:
        """An attempt whose end nobody saw: None means that sending (again) is safe."""
        capabilities = ready.connection.adapter.capabilities
        if ready.live and ready.shown is None:
            return _settle(ready, "unknown", detail="the process ended while the answer was being written")
        if capabilities.idempotency != "none" or ready.shown is not None:
            return None
        if capabilities.reconcile:
            try:
                found = await ready.connection.adapter.reconcile(
                    ready.address, ready.part, key=ready.delivery_id.hex, since=ready.expires_at
                )
            except ChannelError:
                return self._after(ready, OutcomeUnknown("the platform could not be asked"))
            return None if found is None else replace(_settle(ready, "sent"), platform_id=found.platform_id)
        if ready.connection.on_unknown == "resend_once" and ready.attempts <= _RESENT_ATTEMPTS:
            return None
        return _settle(ready, "unknown", detail="the process ended while the message was under way")

    def _after(self, ready: Ready, error: Exception) -> Settle:
        detail = f"{type(error).__name__}: {getattr(error, 'detail', '')}".rstrip(": ")
        if isinstance(error, Permanent):
            return _settle(ready, "dead", detail=detail)
        if isinstance(error, Transient):
            return self._retry(ready, detail, error.retry_after)
        capabilities = ready.connection.adapter.capabilities
        once_more = ready.connection.on_unknown == "resend_once" and ready.attempts < _RESENT_ATTEMPTS
        if capabilities.idempotency != "none" or once_more:
            return self._retry(ready, detail or "no answer", None)
        return _settle(ready, "unknown", detail=detail or "no answer")

    def _retry(self, ready: Ready, detail: str, retry_after: float | None) -> Settle:
        base = _FIXED_RETRY if self._fixed_retries else min(_FIRST_RETRY * 2 ** (ready.attempts - 1), _LONGEST_RETRY)
        wait = max(base * random.uniform(0.8, 1.2), retry_after or 0.0)  # noqa: S311 (jitter, not a secret)
        left = (ready.expires_at - datetime.now(UTC)).total_seconds()
        if wait >= left:
            return _settle(ready, "dead", detail=f"{detail}; the delivery window is over")
        return replace(_settle(ready, "retry", detail=detail), retry_after=wait)

    async def _record(self, ready: Ready, settle: Settle) -> None:
        """Make an end that an operator must see visible; revoked credentials pause the connection."""
        revoked = settle.detail.startswith(CredentialsRevoked.__name__)
        data = orjson.dumps({"detail": settle.detail, "attempts": ready.attempts}).decode()
        values = (uuid7(), ready.tenant_id, f"delivery.{settle.status}", ready.connection.id)
        try:
            async with self.pools.app(ready.tenant_id) as conn:
                await conn.execute(_EVENT, (*values, ready.session_id, ready.delivery_id, data))
                if revoked:
                    await conn.execute(_PAUSE, (settle.detail[:300], ready.connection.id))
        except psycopg.Error as error:  # the delivery's row says the same
            log.warning("event_not_written", reason=type(error).__name__)
        if revoked:
            self._connections.forget(ready.connection.id)

    async def _load(self, sendings: list[Sending]) -> list[Ready]:
        """Read and open what leased deliveries carry, tenant by tenant."""
        by_tenant: dict[UUID, list[Sending]] = {}
        for sending in sendings:
            by_tenant.setdefault(sending.tenant_id, []).append(sending)
        found: list[Ready] = []
        for tenant_id, group in by_tenant.items():
            await self.vault.load(tenant_id)
            async with self.pools.app(tenant_id) as conn:
                rows = await (await conn.execute(_READ, ([item.delivery_id for item in group],))).fetchall()
            contents = {row[0]: row[1:] for row in rows}
            for sending in group:
                ready = await self._opened(sending, contents.get(sending.delivery_id))
                if ready is not None:
                    found.append(ready)
        return found

    async def _opened(self, sending: Sending, content: tuple[Any, ...] | None) -> Ready | None:
        """One leased delivery, ready; one that cannot be sent by anybody is dead and does not hold up the others."""
        try:
            connection = await self._connections.by_id(sending.tenant_id, sending.connection_id)
            if connection is not None and content is not None:
                return self._open(sending, connection, content)
            detail = "the connection is gone"
        except (TenantsError, ValueError, TypeError, LookupError) as error:
            log.warning("delivery_unreadable", delivery_id=str(sending.delivery_id), reason=type(error).__name__)
            detail = f"unreadable: {type(error).__name__}"
        self._spawn(self.settle(_dead(sending, detail)))
        return None

    def _open(self, sending: Sending, connection: LiveConnection, content: tuple[Any, ...]) -> Ready:
        address, part, platform_id, extra = content
        shown = from_row(platform_id, extra) if sending.live and (platform_id or extra) else None
        return Ready(
            delivery_id=sending.delivery_id,
            tenant_id=sending.tenant_id,
            session_id=sending.session_id,
            connection=connection,
            attempts=sending.attempts,
            expires_at=sending.expires_at,
            address=unpack_address(orjson.loads(self._cell(sending, "address", address))),
            part=Part(**orjson.loads(self._cell(sending, "part", part))),
            shown=shown,
            stale=sending.stale,
            live=sending.live,
        )

    def _cell(self, sending: Sending, column: str, blob: bytes) -> bytes:
        return self.vault.open(
            CellRef(sending.tenant_id, "content", "delivery", column, sending.delivery_id), bytes(blob)
        )


def _settle(ready: Ready, status: str, *, detail: str = "") -> Settle:
    return Settle(
        delivery_id=ready.delivery_id,
        session_id=ready.session_id,
        status=status,  # type: ignore[arg-type]
        detail=detail,
    )


def _dead(sending: Sending, detail: str) -> Settle:
    return Settle(delivery_id=sending.delivery_id, session_id=sending.session_id, status="dead", detail=detail)
