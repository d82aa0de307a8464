"""The console's start page, put together: figures, charts, limits, services, and what needs a look."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hub.console.alerts import near_limits
from hub.console.charts import Chart, Line, bars, curves
from hub.console.drawing import share_of, size, usage_bar, whole
from hub.console.figures import PERIODS, Busy, Figures, Series, busiest, percentile, series
from hub.console.formats import compact, duration, money, percent
from hub.console.vitals import Vital, vitals
from hub.console.words import METRICS
from hub.models import Connection, ConnectionStatus, Delivery, DeliveryStatus, Event, Session
from hub.pipeline.reading import session_title
from tenants.members import Rank, Seat
from tenants.models import Metric, Quota, Tenant

ROWS = 6
NEAR = 8
RECENT = timedelta(days=7)
WRONG = (DeliveryStatus.DEAD, DeliveryStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Tile:
    """One number with its name, a second line, and how it moved against the period before."""

    name: str
    value: str
    detail: str = ""
    move: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota as a bar; with its tenant where all are looked at."""

    name: str
    bar: SafeString
    tone: str
    tenant: str = ""
    tenant_id: object = None


@dataclass(frozen=True, slots=True)
class Overview:
    """What the start page shows."""

    period: str
    periods: Sequence[tuple[str, str]]
    empty: bool
    tiles: Sequence[Tile]
    charts: Sequence[Chart]
    busy: Sequence[Busy]
    limits: Sequence[Limit]
    vitals: Sequence[Vital]
    tenants: Sequence[Tenant] = ()
    sessions: Sequence[tuple[Session, str]] = ()
    deliveries: Sequence[Delivery] = ()
    paused: Sequence[Connection] = ()
    events: Sequence[Event] = field(default=())


def overview(request: HttpRequest, seat: Seat) -> Overview:
    """For the seat's tenant, or over all tenants."""
    period = PERIODS.get(request.GET.get("period", ""), PERIODS["day"])
    found = series(seat.tenant_id, period)
    common: dict[str, Any] = {
        "period": period.key,
        "periods": [(one.key, str(one.name)) for one in PERIODS.values()],
        "empty": found.is_empty,
        "tiles": tiles(found),
        "charts": charts(found),
        "busy": busiest(seat.tenant_id, found),
        "vitals": vitals(seat.tenant_id, staff=seat.rank == Rank.STAFF),
    }
    if seat.tenant_id is None:
        newest = Tenant.objects.select_related("plan").order_by("-id")[:ROWS]
        return Overview(**common, limits=limits_of_all(), tenants=list(newest))
    return Overview(**common, limits=limits_of_one(), **_of_tenant())


def _of_tenant() -> dict[str, Any]:
    recent: Any = Session.objects.order_by("-last_inbound_at").defer("address", "address_hash")[:ROWS]
    paused = Connection.objects.filter(status=ConnectionStatus.PAUSED).defer("secrets")
    newest = Delivery.objects.filter(created__gt=timezone.now() - RECENT).order_by("-created")
    candidates = list(newest.values_list("id", "status")[:500])
    wrong = [ident for ident, status in candidates if status in WRONG][:ROWS]
    dead: Any = Delivery.objects.filter(id__in=wrong).defer("address", "part") if wrong else Delivery.objects.none()
    return {
        "sessions": [(row, session_title(row) or str(row)) for row in recent],
        "deliveries": list(dead.order_by("-created")),
        "paused": list(paused[:ROWS]),
        "events": list(Event.objects.order_by("-created")[:ROWS]),
    }


def tiles(found: Series) -> list[Tile]:
    """The period in seven numbers."""
    total, before = found.total, found.before
    first = percentile(total.first_token, 0.5), percentile(total.first_token, 0.95)
    entire = percentile(total.whole, 0.5), percentile(total.whole, 0.95)
    received = _("%(replies)s answered") % {"replies": f"{total.replies:,}"}
    refused = _("%(count)s refused") % {"count": f"{total.refused:,}"}
    tokens = _("%(into)s in, %(out)s out") % {"into": compact(total.input_tokens), "out": compact(total.output_tokens)}
    wrongs = (
        (total.failed, ngettext("%(count)s turn failed", "%(count)s turns failed", total.failed)),
        (total.dead, ngettext("%(count)s delivery dead", "%(count)s deliveries dead", total.dead)),
    )
    failed = " · ".join(words % {"count": f"{count:,}"} for count, words in wrongs if count)
    each = _("%(cost)s per turn") % {"cost": money(total.cost / total.turns)} if total.cost and total.turns else ""
    if not total.errors:
        failed = _("none")
    wrong = "bad" if total.error_share > 0.05 else "warn" if total.errors else "good"
    return [
        Tile(_("Messages"), f"{total.received:,}", received, *_move(total.received, before.received)),
        Tile(_("Turns"), f"{total.turns:,}", refused if total.refused else "", *_move(total.turns, before.turns)),
        Tile(_("First word"), duration(first[0]), _within(first[1])),
        Tile(_("Whole answer"), duration(entire[0]), _within(entire[1])),
        Tile(_("Errors"), percent(total.error_share), failed, tone=wrong),
        Tile(_("Tokens"), compact(total.tokens), tokens, *_move(total.tokens, before.tokens)),
        Tile(_("Cost"), money(total.cost), each),
    ]


def _within(seconds: float | None) -> str:
    return "" if seconds is None else _("95%% within %(time)s") % {"time": duration(seconds)}


def _move(now: int, before: int) -> tuple[str, str]:
    """How much more or less than in the period before; nothing where there is nothing to compare with."""
    if not before or now == before:
        return "", ""
    change = (now - before) / before
    return f"{'▲' if change > 0 else '▼'} {min(abs(change), 9.99):.0%}", "up" if change > 0 else "down"


def charts(found: Series) -> list[Chart]:
    """Four drawings over the steps of the period."""
    steps, labels = found.steps, [one.start.strftime(found.period.label) for one in found.steps]
    total, counted = found.total, lambda value: compact(round(value))

    def of(name: str, tone: str, attribute: str) -> Line:
        return Line(name, tone, [getattr(one, attribute) for one in steps])

    said = [of(_("received"), "a", "received"), of(_("answered"), "b", "replies")]
    speed = [
        Line(_("first word p50"), "a", _times(steps, "first_token", 0.5)),
        Line(_("first word p95"), "a2", _times(steps, "first_token", 0.95)),
        Line(_("answer p50"), "b", _times(steps, "whole", 0.5)),
        Line(_("answer p95"), "b2", _times(steps, "whole", 0.95)),
    ]
    wrong = [of(_("failed turns"), "bad", "failed"), of(_("dead deliveries"), "warn", "dead")]
    wrong.append(of(_("refused messages"), "mute", "refused"))
    spent = [of(_("input"), "a", "input_tokens"), of(_("output"), "b", "output_tokens")]
    cost = _("cost %(cost)s") % {"cost": money(total.cost)} if total.cost else ""
    return [
        bars(_("Messages"), "", labels, said, show=counted),
        curves(_("Time to answer"), "", labels, speed, show=duration),
        bars(_("Errors"), "", labels, wrong, show=counted),
        bars(_("Tokens"), cost, labels, spent, show=counted),
    ]


def _times(steps: Sequence[Figures], name: str, share: float) -> list[float | None]:
    return [percentile(getattr(one, name), share) for one in steps]


def limits_of_one() -> list[Limit]:
    """The current tenant's quotas."""
    return [_limit(row) for row in Quota.objects.order_by("metric")]


def limits_of_all() -> list[Limit]:
    """The quotas of all tenants that are nearest to their limits, from their alert share on."""
    near: Any = near_limits().select_related("tenant").order_by("-share", "tenant_id")
    return [_limit(row, tenant=row.tenant) for row in near[:NEAR]]


def _limit(row: Quota, tenant: Tenant | None = None) -> Limit:
    show = size if row.metric == Metric.STORAGE_BYTES else whole
    bar = usage_bar(row.used, _limit_of(row), alert_at=row.alert_at, reserved=row.reserved, show=show)
    share = _share(row)
    tone = "bad" if share >= 1 else "warn" if share >= row.alert_at else "good"
    name = str(METRICS[Metric(row.metric)])
    return Limit(name, bar, tone, tenant.name if tenant else "", tenant.id if tenant else None)


def _limit_of(row: Quota) -> int:
    return row.limit_value if row.override is None else row.override


def _share(row: Quota) -> float:
    return share_of(row.used + row.reserved, _limit_of(row))
