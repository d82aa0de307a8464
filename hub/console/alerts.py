"""What the console says at the top of a page: limits that are nearly or wholly used up, a suspended tenant."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db.models import F, FloatField
from django.db.models.functions import Cast, Coalesce
from django.utils.translation import gettext as _

from hub.console.drawing import size
from hub.console.words import METRICS
from tenants.members import Seat
from tenants.models import Metric, Quota, Tenant

MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Alert:
    """One sentence; `tone` is warn or bad."""

    tone: str
    text: str
    tenant_id: UUID


def quota_alerts(seat: Seat | None) -> list[Alert]:
    """The limits of the seat's tenant that passed their alert share; nothing over all, where a card shows them."""
    if seat is None or seat.tenant_id is None:
        return []
    return [_alert(row) for row in near_limits().order_by("metric")[:MOST]]


def near_limits() -> Any:
    """Quotas from their alert share on, with `limit` and `share`; those without a limit, or with none at all, never."""
    limit, used = Coalesce("override", "limit_value"), Cast(F("used") + F("reserved"), FloatField())
    rows: Any = Quota.objects.annotate(limit=limit).filter(limit__gt=0)
    return rows.annotate(share=used / Cast(F("limit"), FloatField())).filter(share__gte=F("alert_at"))


def is_suspended(seat: Seat | None) -> bool:
    """Whether the seat's tenant is."""
    if seat is None or seat.tenant_id is None:
        return False
    return Tenant.objects.filter(id=seat.tenant_id, status=Tenant.Status.SUSPENDED).exists()


def _alert(row: Any) -> Alert:
    values = {"metric": METRICS[Metric(row.metric)], "used": _amount(row, row.used), "limit": _amount(row, row.limit)}
    if row.used + row.reserved >= row.limit:
        return Alert("bad", _("Used up: %(metric)s, %(used)s of %(limit)s.") % values, row.tenant_id)
    return Alert("warn", _("Nearly used up: %(metric)s, %(used)s of %(limit)s.") % values, row.tenant_id)


def _amount(row: Any, value: int) -> str:
    return size(value) if row.metric == Metric.STORAGE_BYTES else f"{value:,}"
