"""Sending again what never reached a platform, because an operator asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from hub.models import Delivery, DeliveryStatus, Event
from tenants.context import tenant_scope

REPLAYABLE = (DeliveryStatus.DEAD, DeliveryStatus.UNKNOWN)
MOST = 1_000
WINDOW = timedelta(minutes=15)
"""How long a replayed part may wait again: an operator asked just now, so a long-past deadline has no meaning."""


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


# The locks of settling, in its order: session, then delivery. The parts that were skipped after a dead one follow it.
_LOCK = "SELECT id FROM session WHERE id IN (SELECT session_id FROM delivery WHERE id = ANY(%s)) ORDER BY id FOR UPDATE"
_REPLAY = """
WITH chosen AS (
    SELECT id, session_id, message_id, position FROM delivery WHERE id = ANY(%(ids)s) AND status IN ('dead', 'unknown')
), again AS (
    UPDATE delivery d SET status = 'pending', due_at = now(), expires_at = greatest(d.expires_at, now() + make_interval(secs => %(window)s)),
        lease_owner = NULL, lease_until = NULL, detail = 'sent again by an operator'
    WHERE d.id IN (SELECT id FROM chosen)
       OR (d.status = 'skipped' AND EXISTS (SELECT 1 FROM chosen c WHERE c.session_id = d.session_id
           AND c.message_id = d.message_id AND d.position > c.position))
    RETURNING d.id, d.session_id
), counted AS (
    UPDATE session s SET unsettled = s.unsettled + n.parts
    FROM (SELECT session_id, count(*) AS parts FROM again GROUP BY session_id) n WHERE s.id = n.session_id
)
SELECT id, session_id FROM again
"""


def waiting(tenant_id: UUID, *, statuses: Sequence[str] = REPLAYABLE, limit: int = 100) -> list[Waiting]:
    """The tenant's deliveries that may be sent again, the newest first; at most 1 000."""
    with tenant_scope(tenant_id):
        rows = Delivery.objects.filter(status__in=statuses).order_by("-created")[: min(limit, MOST)]
        return [
            Waiting(one.id, one.session_id, one.connection_id, one.status, one.attempts, one.detail, one.created)
            for one in rows
        ]


def replay(tenant_id: UUID, delivery_ids: Sequence[UUID]) -> list[UUID]:
    """Make these deliveries due at once, with the parts skipped after them; returns what will be sent.

    Ids that are not dead or unknown are left alone, so asking twice sends once. What was `unknown` may reach the person
    a second time: that is the operator's decision, and it is written as an event.
    """
    ids = list(delivery_ids)[:MOST]
    with tenant_scope(tenant_id), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK, (ids,))
        cursor.execute(_REPLAY, {"ids": ids, "window": WINDOW.total_seconds()})
        rows: list[Any] = cursor.fetchall()
        now = timezone.now()
        Event.objects.bulk_create(
            Event(tenant_id=tenant_id, type="delivery_replayed", session_id=row[1], delivery_id=row[0], created=now)
            for row in rows
        )
    return [row[0] for row in rows]
