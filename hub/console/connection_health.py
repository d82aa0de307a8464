"""How a connection is doing: what came last, what went out last, since when it fails. Every look is bounded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Max, Sum
from django.utils import timezone

from hub.models import Connection, Delivery, DeliveryStatus, Event, Grain, Rollup, Session

LOOKED: Final = 1_000
SHOWN: Final = 8
DAY: Final = timedelta(days=1)
WRONG: Final = (DeliveryStatus.DEAD, DeliveryStatus.UNKNOWN, DeliveryStatus.RETRY)


@dataclass(frozen=True, slots=True)
class Health:
    """Of one connection; times are None where nothing was found in what was looked at."""

    last_inbound: datetime | None
    last_sent: datetime | None
    failing_since: datetime | None
    errors: Sequence[Delivery]
    events: Sequence[Event]


def health_of(row: Connection) -> Health:
    """Look at the newest thousand sessions, deliveries and events of the tenant; events repeat no error."""
    # The tenant is said even where its scope says it: over all tenants its index must be found.
    mine = {"tenant_id": row.tenant_id}
    newest: Any = Delivery.objects.filter(**mine).order_by("-created").defer("address", "part", "platform_extra")
    deliveries = [one for one in newest[:LOOKED] if one.connection_id == row.id]
    happened: Any = Event.objects.filter(**mine).order_by("-created")
    errors = [one for one in deliveries if one.status in WRONG][:SHOWN]
    shown = {one.id for one in errors}
    events = [one for one in happened[:LOOKED] if one.connection_id == row.id and one.delivery_id not in shown]
    return Health(
        last_inbound=_last_inbound(row),
        last_sent=next((one.sent_at for one in deliveries if one.status == DeliveryStatus.SENT), None),
        failing_since=_failing_since(deliveries),
        errors=errors,
        events=events[:SHOWN],
    )


def _last_inbound(row: Connection) -> datetime | None:
    rows: Any = Session.objects.filter(tenant_id=row.tenant_id).order_by("-last_inbound_at")
    places = rows.values_list("connection_id", "last_inbound_at")
    found = next((at for ident, at in places[:LOOKED] if ident == row.id), None)
    if found is not None:
        return found  # type: ignore[no-any-return]  # a column of the scoped manager
    rows = Rollup.objects.filter(tenant_id=row.tenant_id, connection_id=row.id, grain=Grain.DAY, received__gt=0)
    latest: datetime | None = rows.aggregate(latest=Max("start"))["latest"]
    return latest


def _failing_since(deliveries: Sequence[Delivery]) -> datetime | None:
    """The oldest of the failures that no success has followed."""
    since = None
    for one in deliveries:
        if one.status == DeliveryStatus.SENT:
            return since
        if one.status in WRONG:
            since = one.created
    return since


@dataclass(frozen=True, slots=True)
class Day:
    """What a connection did in the last 24 hours, by the roll-ups."""

    messages: int = 0
    failed: int = 0


def last_day(connections: Iterable[UUID]) -> dict[UUID, Day]:
    """For the list, in one look."""
    since = timezone.now() - DAY
    rows: Any = Rollup.objects.filter(grain=Grain.HOUR, start__gt=since, connection_id__in=list(connections))
    sums = rows.values("connection_id").annotate(
        n=Sum("received"), m=Sum("replies"), bad=Sum("failed"), dead=Sum("dead")
    )
    return {one["connection_id"]: Day(one["n"] + one["m"], one["bad"] + one["dead"]) for one in sums}
