"""Sending again what never reached a platform, because an operator asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from hub.models import Delivery, DeliveryStatus
from hub.pipeline.operating import retry_delivery
from tenants.context import tenant_scope

REPLAYABLE = (DeliveryStatus.DEAD, DeliveryStatus.UNKNOWN)
MOST = 1_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that ended without certainty or success. `detail` is for operators and holds no message text."""

    id: UUID
    session_id: UUID
    connection_id: UUID
    status: str
    attempts: int
    detail: str
    created: datetime


def waiting(tenant_id: UUID, *, statuses: Sequence[str] = REPLAYABLE, limit: int = 100) -> list[Waiting]:
    """The tenant's deliveries that may be sent again, the newest first; at most 1 000."""
    with tenant_scope(tenant_id):
        rows = Delivery.objects.filter(status__in=statuses).order_by("-created").defer("address", "part")
        return [
            Waiting(one.id, one.session_id, one.connection_id, one.status, one.attempts, one.detail, one.created)
            for one in rows[: min(limit, MOST)]
        ]


def replay(tenant_id: UUID, delivery_ids: Sequence[UUID], *, by: str) -> list[UUID]:
    """Make these deliveries due at once, with the parts that were skipped after them; returns what will be sent.

    Ids that are not dead or unknown are left alone, so asking twice sends once. What was `unknown` may reach the person
    a second time: that is the operator's decision, and an event says whose.
    """
    sent: list[UUID] = []
    with tenant_scope(tenant_id):
        for delivery_id in list(delivery_ids)[:MOST]:
            with transaction.atomic():
                sent += [one for one in _with_followers(delivery_id) if retry_delivery(one, by=by)]
    return sent


def _with_followers(delivery_id: UUID) -> list[UUID]:
    """A dead or unknown part and the parts skipped because of it, in their order."""
    row = Delivery.objects.filter(id=delivery_id, status__in=REPLAYABLE).only("id", "message_id", "position").first()
    if row is None:
        return []
    skipped = Delivery.objects.filter(
        message_id=row.message_id, position__gt=row.position, status=DeliveryStatus.SKIPPED
    )
    return [row.id, *skipped.order_by("position").values_list("id", flat=True)]
