"""The console's start page: what a tenant uses, what went wrong, what was said last. Indexes bound every query."""

from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from hub.console.drawing import usage_bar
from hub.console.words import METRICS
from hub.models import Connection, ConnectionStatus, Delivery, DeliveryStatus, Event, Session
from hub.pipeline.reading import session_title
from tenants.members import Seat
from tenants.models import Metric, Quota, Tenant

ROWS = 8
WRONG = (DeliveryStatus.DEAD, DeliveryStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Overview:
    """What the start page shows of one tenant, or, without one, the newest tenants."""

    tenants: tuple[Tenant, ...] = ()
    quotas: tuple[tuple[str, SafeString], ...] = ()
    sessions: tuple[tuple[Session, str], ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    paused: tuple[Connection, ...] = ()
    events: tuple[Event, ...] = ()


def overview(seat: Seat | None) -> Overview:
    """For the seat's tenant."""
    if seat is None or seat.tenant_id is None:
        return Overview(tenants=tuple(Tenant.objects.select_related("plan").order_by("-id")[:20]))
    recent: Any = Session.objects.order_by("-last_inbound_at").defer("address", "address_hash")[:ROWS]
    paused = Connection.objects.filter(status=ConnectionStatus.PAUSED).defer("secrets")
    newest = Delivery.objects.order_by("-created").values_list("id", flat=True)[:500]
    wrong = Delivery.objects.filter(id__in=list(newest), status__in=WRONG).defer("address", "part")
    return Overview(
        quotas=tuple(_quota(row) for row in Quota.objects.order_by("metric")),
        sessions=tuple((row, session_title(row) or str(row)) for row in recent),
        deliveries=tuple(wrong.order_by("-created")[:ROWS]),
        paused=tuple(paused[:ROWS]),
        events=tuple(Event.objects.order_by("-created")[:ROWS]),
    )


def _quota(row: Quota) -> tuple[str, SafeString]:
    limit = row.limit_value if row.override is None else row.override
    return str(METRICS[Metric(row.metric)]), usage_bar(row.used, limit, alert_at=row.alert_at, reserved=row.reserved)
