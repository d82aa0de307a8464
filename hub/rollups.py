"""Counting once: the rows of an hour become one row per tenant and connection, and those become six hours and days.

A period is counted anew from its rows as often as it is asked for, so a repeated or late run changes nothing. Only the
present hour and the one before it are counted each time; what was missed while no worker ran is caught up.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection

from hub.models import BOUNDS, BUCKETS
from tenants.db.pools import Pools
from tenants.ids import floor, uuid7

HOUR: Final = timedelta(hours=1)
OLDEST: Final = timedelta(days=31)
MOST_HOURS: Final = 48
"""Hours with rows that one run counts; the next run goes on from there."""
KEPT_DAYS: Final = {1: 8, 6: 35, 24: 800}
"""How long rows are kept, by grain."""
COARSER: Final = (6, 24)

_LATEST: Final = "SELECT max(start) FROM rollup WHERE grain = 1"
_NEXT: Final = "SELECT id FROM message WHERE id >= %s ORDER BY id LIMIT 1"
_MESSAGES: Final = """
SELECT m.tenant_id, s.connection_id, count(*) FILTER (WHERE m.role = 'user'),
       count(*) FILTER (WHERE m.role = 'assistant'), count(*) FILTER (WHERE m.status = 'refused')
FROM message m JOIN session s ON s.id = m.session_id WHERE m.id >= %(lo)s AND m.id < %(hi)s GROUP BY 1, 2
"""
_DELIVERIES: Final = """
SELECT tenant_id, connection_id, count(*) FILTER (WHERE status = 'sent'), count(*) FILTER (WHERE status = 'dead')
FROM delivery WHERE id >= %(lo)s AND id < %(hi)s GROUP BY 1, 2
"""
_USAGE: Final = """
SELECT u.tenant_id, s.connection_id, sum(u.input_tokens), sum(u.output_tokens), sum(u.cost)
FROM usage u LEFT JOIN session s ON s.id = u.session_id WHERE u.id >= %(lo)s AND u.id < %(hi)s GROUP BY 1, 2
"""
COUNTS: Final = ("received", "replies", "refused", "turns", "failed", "sent", "dead", "input_tokens", "output_tokens")
_HISTOGRAMS: Final = ("first_token", "whole")
_COLUMNS: Final = (*COUNTS, "cost", *_HISTOGRAMS)


def buckets_of(name: str) -> str:
    """SQL that counts the buckets of a column made by `width_bucket`."""
    return "ARRAY[" + ", ".join(f"count(*) FILTER (WHERE {name} = {n})" for n in range(BUCKETS)) + "]"


def added(name: str) -> str:
    """SQL that adds up a column of histograms, bucket by bucket."""
    return "ARRAY[" + ", ".join(f"coalesce(sum({name}[{n}]), 0)::int" for n in range(1, BUCKETS + 1)) + "]"


_TURNS: Final = f"""
SELECT tenant_id, connection_id, count(*), count(*) FILTER (WHERE status IN ('failed', 'dead')),
       {buckets_of("first")}, {buckets_of("whole")}
FROM (
    SELECT t.tenant_id, s.connection_id, t.status,
           width_bucket(extract(epoch FROM t.first_token_at - t.created), %(bounds)s::numeric[]) AS first,
           width_bucket(extract(epoch FROM t.finished_at - t.created), %(bounds)s::numeric[]) AS whole
    FROM turn t JOIN session s ON s.id = t.session_id
    WHERE t.id >= %(lo)s AND t.id < %(hi)s AND t.kind = 'reply'
) ended GROUP BY 1, 2
"""  # noqa: S608 - numbers of our own
_SET: Final = ", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS)
_KEY: Final = "ON CONFLICT (tenant_id, grain, start, connection_id) DO UPDATE SET"
_INSERT: Final = (
    f"INSERT INTO rollup (id, tenant_id, grain, start, connection_id, {', '.join(_COLUMNS)}) "  # noqa: S608
    f"VALUES (%s, %s, 1, %s, %s, {', '.join(['%s'] * len(_COLUMNS))}) {_KEY} {_SET}"
)
_SUMS: Final = ", ".join([*(f"sum({name})" for name in (*COUNTS, "cost")), *map(added, _HISTOGRAMS)])
_COARSEN: Final = f"""
INSERT INTO rollup (id, tenant_id, grain, start, connection_id, {", ".join(_COLUMNS)})
SELECT gen_random_uuid(), tenant_id, %(grain)s, %(start)s, connection_id, {_SUMS}
FROM rollup WHERE tenant_id = %(tenant)s AND grain = 1 AND start >= %(start)s AND start < %(end)s
GROUP BY tenant_id, connection_id {_KEY} {_SET}
"""  # noqa: S608 - names of our own
_OLD: Final = "DELETE FROM rollup WHERE tenant_id = %s AND grain = %s AND start < now() - make_interval(days => %s)"


@dataclass(slots=True)
class Counts:
    """What happened in one time: a tenant's (or connection's) hour, a step of a curve, or a whole period."""

    received: int = 0
    replies: int = 0
    refused: int = 0
    turns: int = 0
    failed: int = 0
    sent: int = 0
    dead: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    first_token: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    whole: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def add(self, other: "Counts") -> None:
        """Add another's counts to these."""
        for name in (*COUNTS, "cost"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _HISTOGRAMS:
            setattr(self, name, [a + b for a, b in zip(getattr(self, name), getattr(other, name), strict=True)])


Hour = dict[UUID, dict[UUID | None, Counts]]
"""Counts by tenant and connection; None is what belongs to no connection."""


async def roll_up(pools: Pools, *, now: datetime | None = None) -> int:
    """Count what has to be counted; returns how many rows were written."""
    rows, moment = 0, now or datetime.now(UTC)
    async for start, hour in _hours(pools, moment):
        for tenant_id, found in hour.items():
            async with pools.app(tenant_id) as conn:
                rows += await _write(conn, tenant_id, start, found)
                # Not while older hours are caught up: days are added from them, and they say how far that has come.
                if start >= moment - 2 * HOUR:
                    await _tidy(conn, tenant_id)
    return rows


async def _hours(pools: Pools, now: datetime) -> Any:
    """Each hour from the one before the last counted (or the oldest message) to the present one, with its counts."""
    present = now.replace(minute=0, second=0, microsecond=0)
    async with pools.ops("upkeep: how far the roll-ups are") as conn:
        row: Any = await (await conn.execute(_LATEST)).fetchone()
    start = max(row[0] - HOUR if row[0] else present - OLDEST, present - OLDEST)
    counted = 0
    while start <= present and counted < MOST_HOURS:
        async with pools.ops("upkeep: counting an hour for the roll-ups") as conn:
            found: Any = await (await conn.execute(_NEXT, (floor(start),))).fetchone()
            if found is None and start < present - HOUR:
                start = present - HOUR  # nothing was said since: only what may still change is looked at
            elif found is not None:
                start = max(start, min(_hour_of(found[0]), present - HOUR))
            hour = await count_hour(conn, start)
        counted += bool(hour)
        yield start, hour
        start += HOUR


def _hour_of(message_id: UUID) -> datetime:
    moment = datetime.fromtimestamp((message_id.int >> 80) / 1000, tz=UTC)
    return moment.replace(minute=0, second=0, microsecond=0)


async def count_hour(conn: AsyncConnection[Any], start: datetime) -> Hour:
    """The counts of the hour that begins at `start`, over all tenants (an operator's connection)."""
    values = {"lo": floor(start), "hi": floor(start + HOUR), "bounds": [float(bound) for bound in BOUNDS]}
    found: dict[UUID, dict[UUID | None, Counts]] = defaultdict(lambda: defaultdict(Counts))
    readings = (
        (_MESSAGES, ("received", "replies", "refused")),
        (_TURNS, ("turns", "failed", "first_token", "whole")),
        (_DELIVERIES, ("sent", "dead")),
        (_USAGE, ("input_tokens", "output_tokens", "cost")),
    )
    for statement, names in readings:
        for tenant_id, connection_id, *counts in await (await conn.execute(statement, values)).fetchall():
            one = found[tenant_id][connection_id]
            for name, count in zip(names, counts, strict=True):
                setattr(one, name, count)
    return {tenant_id: dict(of) for tenant_id, of in found.items()}


async def _write(conn: AsyncConnection[Any], tenant_id: UUID, start: datetime, found: dict[UUID | None, Counts]) -> int:
    rows = list(_rows(tenant_id, start, found))
    async with conn.cursor() as cursor:
        await cursor.executemany(_INSERT, rows)
        for grain in COARSER:
            begin = start.replace(hour=start.hour // grain * grain)
            span = {"grain": grain, "tenant": tenant_id, "start": begin, "end": begin + timedelta(hours=grain)}
            await cursor.execute(_COARSEN, span)
    return len(rows)


async def _tidy(conn: AsyncConnection[Any], tenant_id: UUID) -> None:
    for grain, days in KEPT_DAYS.items():
        await conn.execute(_OLD, (tenant_id, grain, days))


def _rows(tenant_id: UUID, start: datetime, found: dict[UUID | None, Counts]) -> Iterator[list[Any]]:
    total = Counts()
    for counts in found.values():
        total.add(counts)
    of: Iterable[tuple[UUID | None, Counts]] = [(ident, counts) for ident, counts in found.items() if ident]
    for connection_id, counts in [(None, total), *of]:
        yield [uuid7(), tenant_id, start, connection_id, *(getattr(counts, name) for name in _COLUMNS)]
