"""The dashboard's numbers: read from roll-ups alone, a handful of statements however much was said."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hub.models import BOUNDS, Connection, Grain
from hub.rollups import COUNTS, Counts, added
from tenants.models import Tenant

BUSIEST: Final = 6


@dataclass(frozen=True, slots=True)
class Period:
    """What is looked at: how long, in steps of how many hours, and how a step is labelled."""

    key: str
    name: str | Promise
    span: timedelta
    grain: Grain
    label: str


PERIODS: Final = {
    period.key: period
    for period in (
        Period("day", _("Day"), timedelta(days=1), Grain.HOUR, "%H:00"),
        Period("week", _("Week"), timedelta(days=7), Grain.QUARTER, "%m-%d %H:00"),
        Period("month", _("Month"), timedelta(days=30), Grain.DAY, "%m-%d"),
    )
}


@dataclass(slots=True)
class Figures(Counts):
    """Counts of one step or of the whole period."""

    start: datetime = field(kw_only=True)

    @property
    def tokens(self) -> int:
        """Both ways."""
        return self.input_tokens + self.output_tokens

    @property
    def errors(self) -> int:
        """Turns that failed and deliveries that are dead."""
        return self.failed + self.dead

    @property
    def error_share(self) -> float:
        """Failed turns among all, 0 to 1."""
        return self.failed / self.turns if self.turns else 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """The steps of a period, oldest first and without gaps, their sum, and the sum of the period before."""

    period: Period
    steps: Sequence[Figures]
    total: Figures
    before: Figures

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened."""
        return not (self.total.received or self.total.replies or self.total.turns)


@dataclass(frozen=True, slots=True)
class Busy:
    """A connection, or a tenant where all are looked at, with what it did."""

    id: UUID
    name: str
    count: int
    share: float
    failed: int
    p95: float | None


def series(tenant_id: UUID | None, period: Period, *, now: datetime | None = None) -> Series:
    """The period's figures of a tenant, or of all (an operator's scope)."""
    step = timedelta(hours=period.grain)
    last = _floor(now or datetime.now(UTC), period.grain)
    first = last + step - period.span
    found = _read(tenant_id, period.grain, first - period.span)
    steps = [found.get(first + n * step) or Figures(start=first + n * step) for n in range(round(period.span / step))]
    total, before = Figures(start=first), Figures(start=first - period.span)
    for one in steps:
        total.add(one)
    for start, one in found.items():
        if start < first:
            before.add(one)
    return Series(period, steps, total, before)


def busiest(tenant_id: UUID | None, since: Series) -> list[Busy]:
    """The connections (of a tenant) or tenants (over all) with the most messages."""
    column = "connection_id" if tenant_id else "tenant_id"
    present = "IS NOT NULL" if tenant_id else "IS NULL"
    where, values = _where(tenant_id, since.period.grain, since.steps[0].start)
    query = (
        f"SELECT {column}, sum(received + replies)::bigint AS n, sum(failed)::bigint, {added('whole')} FROM rollup "  # noqa: S608
        f"WHERE {where} AND connection_id {present} GROUP BY 1 ORDER BY n DESC LIMIT {BUSIEST}"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        rows = [row for row in cursor.fetchall() if row[1]]
    names = _names(tenant_id, [row[0] for row in rows])
    most = max((row[1] for row in rows), default=1) or 1
    return [
        Busy(ident, names.get(ident, f"…{str(ident)[-8:]}"), count, count / most, failed, percentile(whole, 0.95))
        for ident, count, failed, whole in rows
    ]


def percentile(histogram: Sequence[int], share: float) -> float | None:
    """Seconds below which this share of the counted lies, interpolated within its bucket; None of nothing."""
    wanted, seen = sum(histogram) * share, 0
    if not wanted:
        return None
    for number, count in enumerate(histogram):
        if count and seen + count >= wanted:
            low = BOUNDS[number - 1] if number else 0.0
            high = BOUNDS[number] if number < len(BOUNDS) else BOUNDS[-1]
            return low + (high - low) * (wanted - seen) / count
        seen += count
    return BOUNDS[-1]


def _floor(moment: datetime, hours: int) -> datetime:
    return moment.replace(hour=moment.hour // hours * hours, minute=0, second=0, microsecond=0)


def _where(tenant_id: UUID | None, grain: int, start: datetime) -> tuple[str, list[Any]]:
    where, values = "grain = %s AND start >= %s", [grain, start]
    return (f"tenant_id = %s AND {where}", [tenant_id, *values]) if tenant_id else (where, values)


def _read(tenant_id: UUID | None, grain: int, start: datetime) -> dict[datetime, Figures]:
    where, values = _where(tenant_id, grain, start)
    sums = ", ".join([*(f"sum({name})::bigint" for name in COUNTS), "sum(cost)"])
    query = (
        f"SELECT start, {sums}, {added('first_token')}, {added('whole')} FROM rollup "  # noqa: S608
        f"WHERE {where} AND connection_id IS NULL GROUP BY start"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return {row[0]: Figures(*row[1:], start=row[0]) for row in cursor.fetchall()}


def _names(tenant_id: UUID | None, idents: list[UUID]) -> dict[UUID, str]:
    rows: Any = Connection.objects if tenant_id else Tenant.objects
    return dict(rows.filter(id__in=idents).values_list("id", "name")) if idents else {}
