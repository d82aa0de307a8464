"""Deliver parts in order: committed as `sending` before the network, settled after it, retried by one policy."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg_pool import PoolTimeout

from channels_adapters.errors import ChannelError, CredentialsRevoked, OutcomeUnknown
from channels_adapters.types import SentMessage
from hub.ledger.connections import Lease
from hub.ledger.settle import Sending, Settle, Settler
from hub.pipeline import crash, metrics
from hub.pipeline.connections import Connections
from hub.pipeline.deliveries import Deliveries, Ready
from hub.pipeline.live import packed_extra
from hub.pipeline.pacing import Pacer
from hub.pipeline.verdicts import after_failure, unseen, verdict, without_attempt
from tenants.crypto import Vault
from tenants.db.batching import Batcher, Closed, Overloaded
from tenants.db.pools import Pools
from tenants.ids import uuid7

__all__ = ["Outbox", "Ready"]

log = structlog.get_logger(__name__)

SEND_SECONDS = 40.0
"""A send that takes longer has an unknown outcome; shorter than the delivery's lease."""
_AWAY = (psycopg.OperationalError, psycopg.errors.TransactionTimeout, PoolTimeout, Overloaded)
_AWAY_SECONDS = 0.25
_MOST_AT_ONCE = 256

_PAUSE = "UPDATE connection SET status = 'paused', status_detail = %s, updated = now() WHERE id = %s"
_EVENT = """
INSERT INTO event (id, tenant_id, type, connection_id, session_id, delivery_id, data, created)
VALUES (%s, %s, %s, %s, %s, %s, %s, now())
"""

T = TypeVar("T")


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
        self._deliveries = Deliveries(
            pools=pools,
            vault=vault,
            connections=connections,
            unreadable=self.settle_soon,
        )
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

    def settle_soon(self, settle: Settle) -> None:
        """Record an outcome behind the caller's back."""
        self._spawn(self.settle(settle))

    async def claim(self) -> int:
        """Send whatever is due; returns how many were taken."""
        room = _MOST_AT_ONCE - len(self._tasks)
        if room <= 0 or self._closing:
            return 0
        sendings = await self._settler.claim(limit=room)
        for ready in await self._patiently(lambda: self._deliveries.load(sendings)):
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
        loaded = await self._patiently(lambda: self._deliveries.load([following]))
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
        if (ended := without_attempt(ready)) is not None:
            return ended
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
        except Exception as error:  # an adapter's fault: nobody knows whether it was sent
            log.exception("send_failed_unexpectedly", delivery_id=str(ready.delivery_id))
            return self._after(ready, OutcomeUnknown(f"unexpected {type(error).__name__}"))
        return replace(
            verdict(ready, "sent"),
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
        if ready.inline:
            return unseen(ready)
        if ready.live and ready.shown is None:
            return verdict(ready, "unknown", detail="the process ended while the answer was being written")
        if capabilities.idempotency != "none" or ready.shown is not None:
            return None
        if capabilities.reconcile:
            try:
                found = await ready.connection.adapter.reconcile(
                    ready.address, ready.part, key=ready.delivery_id.hex, since=ready.expires_at
                )
            except ChannelError:
                return self._after(ready, OutcomeUnknown("the platform could not be asked"))
            return None if found is None else replace(verdict(ready, "sent"), platform_id=found.platform_id)
        return unseen(ready)

    def _after(self, ready: Ready, error: Exception) -> Settle:
        return after_failure(ready, error, fixed_retries=self._fixed_retries)

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
            self._connections.paused(ready.tenant_id, ready.connection.id)
