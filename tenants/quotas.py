"""Limits and counts. The ledger admits and reserves in its own statements; this module reads, alerts and rolls over.

Periods go by the database's clock in the tenant's zone. A count of a past day is as good as zero before any job has
rolled it over: `USED` and `PERIOD_START` say so in SQL, with `quota q` and `tenant t` in scope.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection

from tenants.context import tenant_scope
from tenants.models import Quota

DAY_START: Final = "date_trunc('day', now(), t.zone)"
USED: Final = f"CASE WHEN q.period = 'day' AND q.period_start < {DAY_START} THEN 0 ELSE q.used END"
PERIOD_START: Final = f"CASE WHEN q.period = 'day' THEN greatest(q.period_start, {DAY_START}) ELSE q.period_start END"
LIMIT: Final = "coalesce(q.override, q.limit_value)"
UNLIMITED: Final = -1


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a tenant stands with one metric; `limit` -1 is none."""

    metric: str
    limit: int
    used: int
    reserved: int
    alert_at: float
    period_start: datetime

    @property
    def left(self) -> int | None:
        """What may still be used or reserved, never below 0; None without a limit."""
        return None if self.limit == UNLIMITED else max(0, self.limit - self.used - self.reserved)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A count that passed its alert share, reported once per period."""

    tenant_id: UUID
    metric: str
    used: int
    limit: int


# The statements below join our own constants only.
_LIMITS: Final = (
    f"SELECT q.metric, {LIMIT}, {USED}, q.reserved, q.alert_at, {PERIOD_START} "  # noqa: S608
    "FROM quota q JOIN tenant t ON t.id = q.tenant_id WHERE q.tenant_id = %s"
)
_ROLL_OVER: Final = (
    f"UPDATE quota q SET used = 0, period_start = {DAY_START}, alerted_at = NULL FROM tenant t "  # noqa: S608
    f"WHERE t.id = q.tenant_id AND q.tenant_id = %s AND q.period = 'day' AND q.period_start < {DAY_START}"
)
_ABOVE: Final = f"({LIMIT} > 0 AND ({USED}) >= q.alert_at * {LIMIT})"
# Without a period, an alert is armed again once the count has fallen below its share.
_REARM: Final = (
    "UPDATE quota q SET alerted_at = NULL FROM tenant t "  # noqa: S608
    f"WHERE t.id = q.tenant_id AND q.tenant_id = %s AND q.alerted_at IS NOT NULL AND NOT {_ABOVE}"
)
_ALERT: Final = (
    "UPDATE quota q SET alerted_at = now() FROM tenant t WHERE t.id = q.tenant_id AND q.tenant_id = %s "  # noqa: S608
    f"AND (q.alerted_at IS NULL OR q.period = 'day' AND q.alerted_at < ({PERIOD_START})) AND {_ABOVE} "
    f"RETURNING q.tenant_id, q.metric, {USED}, {LIMIT}"
)


async def limits(conn: AsyncConnection[Any], tenant_id: UUID) -> Mapping[str, Standing]:
    """The tenant's standing by metric, as of now."""
    rows = await (await conn.execute(_LIMITS, (tenant_id,))).fetchall()
    return {row[0]: Standing(*row) for row in rows}


async def alerts(conn: AsyncConnection[Any], tenant_id: UUID) -> list[Crossing]:
    """Mark and return what crossed its alert share, each once per period and to one caller."""
    await conn.execute(_REARM, (tenant_id,))
    rows = await (await conn.execute(_ALERT, (tenant_id,))).fetchall()
    return [Crossing(*row) for row in rows]


async def roll_over(conn: AsyncConnection[Any], tenant_id: UUID) -> int:
    """Begin the new day of counts whose day is over; reservations of running turns stay. Returns how many."""
    return (await conn.execute(_ROLL_OVER, (tenant_id,))).rowcount


async def recount(conn: AsyncConnection[Any], tenant_id: UUID, *, metric: str, used: int) -> None:
    """Replace a count by one that was counted from rows (sessions of 30 days, documents, bytes)."""
    if used < 0:
        raise ValueError("a count is never negative")
    await conn.execute(
        "UPDATE quota SET used = %s WHERE tenant_id = %s AND metric = %s AND period <> 'day'",
        (used, tenant_id, metric),
    )


def override(tenant_id: UUID, metric: str, value: int | None) -> None:
    """Let one tenant differ from its plan: a limit, -1 for none, None to follow the plan again."""
    if value is not None and value < UNLIMITED:
        raise ValueError("a limit is -1 (none) or at least 0")
    with tenant_scope(tenant_id):
        if not Quota.objects.filter(metric=metric).update(override=value):
            raise LookupError(f"there is no quota {metric!r} of tenant {tenant_id}")
