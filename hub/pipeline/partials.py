"""The text of a running answer, stored each second or 200 tokens, so that a lost process leaves what was said."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog

from agents.types import Progress, Restarted, TextDelta
from hub.ledger.live import save_partials
from hub.pipeline import crash, metrics
from hub.pipeline.bodies import pack_partial, partial_cell
from hub.pipeline.run import Run
from hub.pipeline.streams import Publisher
from tenants.crypto import Vault
from tenants.db.batching import Batcher, Closed, Overloaded
from tenants.db.pools import Pools

log = structlog.get_logger(__name__)

_SECONDS = 1.0
_CHARS = 800
_SOONEST = 0.1

Row = tuple[UUID, UUID, int, bytes]
"""Tenant, turn, fence, sealed text."""


class Partials:
    """Writes texts of running turns, behind their streams; a failure costs only what a crash would lose."""

    def __init__(self, pools: Pools, vault: Vault) -> None:
        self._pools = pools
        self._vault = vault
        self._batcher: Batcher[Row, None] = Batcher(self._write, max_items=64)

    async def close(self) -> None:
        """Write what waits."""
        await self._batcher.close()

    def save(self, run: Run, publisher: Publisher) -> None:
        """Store what the turn has said."""
        publisher.flush()
        claimed, running = run.claimed, publisher.running
        cell = partial_cell(claimed.tenant_id, claimed.turn_id)
        sealed = self._vault.seal(cell, pack_partial(running.index, running.text))
        try:
            future = self._batcher.enqueue(
                (claimed.tenant_id, claimed.turn_id, claimed.fence, sealed), size=len(sealed)
            )
        except (Overloaded, Closed) as error:
            log.info("partial_not_saved", reason=type(error).__name__)
            return
        future.add_done_callback(_log_failure)

    async def _write(self, rows: Sequence[Row]) -> Sequence[None]:
        by_tenant: dict[UUID, list[tuple[UUID, int, bytes]]] = {}
        for tenant_id, turn_id, fence, sealed in rows:
            by_tenant.setdefault(tenant_id, []).append((turn_id, fence, sealed))
        for tenant_id, group in by_tenant.items():
            async with self._pools.app(tenant_id) as conn:
                await save_partials(conn, group)
        crash.point("checkpoint.after")
        return [None] * len(rows)


class Progressing:
    """Passes a turn's progress on, notes its first token, and has its text stored now and then."""

    def __init__(self, partials: Partials, run: Run, publisher: Publisher) -> None:
        self._partials = partials
        self._run = run
        self._publisher = publisher
        self._at = time.monotonic()
        self._chars = 0

    def emit(self, progress: Progress) -> None:
        """Take what the agent shows."""
        self._publisher.emit(progress)
        if isinstance(progress, Restarted):
            self._chars = 0
        if not isinstance(progress, TextDelta):
            return
        if self._run.first_token is None:
            self._begun()
        self._chars += len(progress.text)
        since = time.monotonic() - self._at
        if since >= _SECONDS or (self._chars >= _CHARS and since >= _SOONEST):
            self._at, self._chars = time.monotonic(), 0
            self._partials.save(self._run, self._publisher)

    def _begun(self) -> None:
        run = self._run
        run.first_token = datetime.now(UTC)
        metrics.FIRST_TOKEN.observe(time.monotonic() - run.started)
        crash.point("turn.first_delta")
        if run.live is not None:
            run.live.start()


def _log_failure(future: "asyncio.Future[None]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("partial_not_saved", reason=type(error).__name__)
