"""A process's sign of life, and what it learns by it: who else lives."""

import asyncio
from uuid import UUID

import psycopg
import structlog

from hub.ledger.leases import Liveness
from hub.pipeline import metrics
from hub.pipeline.pressure import Pressure
from hub.pipeline.streams import Streams
from hub.pipeline.sweep import Sweeper
from tenants.db.pools import Pools

log = structlog.get_logger(__name__)

BEAT_SECONDS = 0.3
_ANSWER_SECONDS = 5.0


class Peers:
    """The workers that live, as of the last beat."""

    def __init__(self, worker_id: UUID) -> None:
        self.worker_id = worker_id
        self.living: list[UUID] = []

    def prefer_us(self, session_id: UUID) -> bool:
        """Rendezvous hashing over the workers that live: the highest weight has the session warm."""
        if len(self.living) < 2:
            return True
        return max(self.living, key=lambda peer: hash((peer.int, session_id.int))) == self.worker_id


class Heartbeat:
    """Shows that this process lives, on its own connection and with its lock; looks after what depends on others."""

    def __init__(self, pools: Pools, *, peers: Peers, role: str, streams: Streams) -> None:
        self._pools, self._peers, self._role, self._streams = pools, peers, role, streams
        self._liveness: Liveness | None = None

    async def register(self) -> None:
        """Take the lock, show the row, beat once. Raises psycopg errors."""
        await self._show()
        await self._beat()

    async def beating(self, pressure: Pressure, sweeper: Sweeper) -> None:
        """Beat until cancelled; the look at the memory and the sweep go with it."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            pressure.look()
            try:
                await self._beat()
                await sweeper.step()
            except (psycopg.Error, OSError) as error:
                log.warning("beat_failed", reason=type(error).__name__)
                await self._again()
            except Exception:
                # Whatever one job of the sweep stumbles over, this process must go on showing that it lives.
                log.exception("beat_failed_unexpectedly")

    async def leave(self) -> None:
        """A clean end; a database that is away sees it by the lock."""
        if self._liveness is None:
            return
        try:
            await self._liveness.leave()
        except psycopg.Error as error:
            log.info("left_without_a_word", reason=type(error).__name__)

    async def _show(self) -> None:
        self._liveness = Liveness(await self._pools.direct(), worker_id=self._peers.worker_id, role=self._role)
        await self._liveness.register()

    async def _again(self) -> None:
        """After a lost connection: take the lock again before anything else."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):  # a half-dead connection of ours may hold the lock for a while
                await self._show()
        except (psycopg.Error, OSError) as error:
            log.warning("database_away", reason=type(error).__name__)

    async def _beat(self) -> None:
        if self._liveness is None:
            return
        async with asyncio.timeout(_ANSWER_SECONDS):
            dead, freed, orphaned = await self._liveness.beat()
            self._peers.living = await self._liveness.peers()
            self._streams.shared = await self._liveness.others()
        if dead:
            metrics.DEAD_WORKERS.inc(dead)
            log.warning("workers_died", workers=dead, sessions=freed, deliveries=orphaned)
