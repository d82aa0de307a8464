"""How much work waits, asked of PostgreSQL when somebody looks: what autoscalers and alerts go by.

Every process that serves `/metrics` tells the same numbers, so queries take their maximum. An answer is good for two
seconds, whoever asks; where PostgreSQL does not answer there are no numbers rather than old ones.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from tenants.db.pools import Pools

log = structlog.get_logger(__name__)

ASK_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 2.0
MOST: Final = 100_000
"""Rows that one look counts at most: a longer queue is as alarming, and the look stays cheap."""

# The indexes are partial: they hold what is due or under way, never the past.
_LOOK: Final = """
SELECT t.waiting, coalesce(extract(epoch FROM now() - t.since), 0)::float8,
       d.waiting, coalesce(extract(epoch FROM now() - d.since), 0)::float8,
       (SELECT coalesce(json_object_agg(role, n), '{}') FROM (SELECT role, count(*) AS n FROM worker GROUP BY role) w),
       b.waiting, b.attempts
FROM (SELECT coalesce(sum(due_turns), 0)::bigint AS waiting, min(due_since) AS since
      FROM (SELECT due_turns, due_since FROM session WHERE due_at IS NOT NULL AND due_turns > 0 LIMIT %(most)s) s) t,
     (SELECT count(*) AS waiting, min(due_at) FILTER (WHERE due_at <= now()) AS since
      FROM (SELECT due_at FROM delivery WHERE status IN ('pending', 'retry', 'sending', 'live') LIMIT %(most)s) x) d,
     (SELECT count(*) AS waiting, coalesce(max(attempts), 0) AS attempts
      FROM (SELECT attempts FROM memory_batch WHERE state = 'claimed' LIMIT %(most)s) y) b
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What waited at the last look; ages in seconds."""

    turns: int
    oldest_turn: float
    deliveries: int
    oldest_delivery: float
    workers: dict[str, int] = field(default_factory=dict)
    summaries: int = 0
    attempts: int = 0
    """The most often tried of the waiting summaries."""


class Backlog(Collector):
    """The last look, as metrics."""

    def __init__(self) -> None:
        self.look: Look | None = None
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def refresh(self, pools: Pools) -> None:
        """Look again unless the last answer is still good; waits a second at most."""
        async with self._lock:
            if time.monotonic() < self._until:
                return
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    self.look = await _ask(pools)
            except (psycopg.Error, OSError, PoolTimeout, PoolClosed, TooManyRequests, TimeoutError) as error:
                self.look = None
                log.warning("backlog_not_seen", reason=type(error).__name__)
            self._until = time.monotonic() + KEEP_SECONDS

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client's."""
        look = self.look
        yield GaugeMetricFamily("hub_backlog_seen", "1 if PostgreSQL told what waits.", value=float(look is not None))
        if look is None:
            return
        yield GaugeMetricFamily("hub_backlog_turns", "Turns that wait, over all tenants.", value=look.turns)
        yield GaugeMetricFamily(
            "hub_backlog_turns_oldest_seconds", "How long the oldest of them waits.", value=max(look.oldest_turn, 0.0)
        )
        yield GaugeMetricFamily("hub_backlog_deliveries", "Deliveries not yet settled.", value=look.deliveries)
        yield GaugeMetricFamily(
            "hub_backlog_deliveries_oldest_seconds",
            "How long the oldest due one waits.",
            value=max(look.oldest_delivery, 0.0),
        )
        yield GaugeMetricFamily("hub_backlog_summaries", "Summaries that wait for a worker.", value=look.summaries)
        yield GaugeMetricFamily(
            "hub_backlog_summaries_attempts", "How often the most often tried of them was sent.", value=look.attempts
        )
        family = GaugeMetricFamily("hub_workers", "Processes that live, by role.", labels=["role"])
        for role, count in look.workers.items():
            family.add_metric([role], count)
        yield family


async def _ask(pools: Pools) -> Look:
    async with pools.statement("queue") as conn:
        row: Any = await (await conn.execute(_LOOK, {"most": MOST})).fetchone()
    return Look(
        turns=row[0],
        oldest_turn=row[1],
        deliveries=row[2],
        oldest_delivery=row[3],
        workers=dict(row[4]),
        summaries=row[5],
        attempts=row[6],
    )
