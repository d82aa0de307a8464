"""Dead letters: what never reached a platform, sent again or thrown away because an operator asks for it.

Every change is a compare-and-set on the delivery's status, so that asking twice changes things once. Many are worked
through in batches, each its own short transaction; a cursor says where the next one goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from hub.models import Delivery, DeliveryStatus
from hub.pipeline.operating import retry_delivery
from tenants.context import tenant_scope

REPLAYABLE = (DeliveryStatus.DEAD, DeliveryStatus.UNKNOWN)
LETTERS = (DeliveryStatus.DEAD, DeliveryStatus.UNKNOWN, DeliveryStatus.SKIPPED)
"""What an operator has to look at: an index of its own finds it, however much was delivered."""
MOST = 1_000
MOST_COUNTED: Final = 10_000
BATCH: Final = 100


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
    found = Delivery.objects.filter(id=delivery_id, status__in=REPLAYABLE)
    row = found.only("id", "session_id", "message_id", "position").first()
    if row is None:
        return []
    skipped = Delivery.objects.filter(
        session_id=row.session_id,
        position__gt=row.position,
        message_id=row.message_id,
        status=DeliveryStatus.SKIPPED,
    )
    return [row.id, *skipped.order_by("position").values_list("id", flat=True)]


# ---- many at once ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Which dead letters of the tenant in scope. `until` keeps those out that die while the work goes on."""

    statuses: Sequence[str] = field(default=LETTERS)
    connection_id: UUID | None = None
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def rows(self) -> QuerySet[Any]:
        """Them, without order; the sealed cells are left where they are."""
        rows = Delivery.objects.filter(status__in=LETTERS).filter(status__in=[str(one) for one in self.statuses])
        if self.connection_id is not None:
            rows = rows.filter(connection_id=self.connection_id)
        if self.reason:
            rows = rows.filter(detail=self.reason)
        if self.since is not None:
            rows = rows.filter(created__gte=self.since)
        if self.until is not None:
            rows = rows.filter(created__lte=self.until)
        return rows.defer("address", "part")

    def count(self) -> int:
        """How many; counting ends at 10 000."""
        return len(self.rows().values_list("id")[:MOST_COUNTED])


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last delivery that was looked at, in the order of their age."""

    created: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step did: of `seen` deliveries `changed` were changed; None as cursor when nothing is left.

    `sent` are the deliveries that are due again: the changed ones and the parts that were skipped after them.
    """

    seen: int
    changed: int
    cursor: Cursor | None
    sent: Sequence[UUID] = ()


def replay_batch(letters: Letters, cursor: Cursor | None, *, by: str, limit: int = BATCH) -> Batch:
    """Send the next ones again, the oldest first, each with the parts that were skipped after it."""
    rows = _next(letters, cursor, limit)
    changed, sent = 0, []
    for row in rows:
        with transaction.atomic():
            again = [one for one in _with_followers(row.id) if retry_delivery(one, by=by)]
        changed += bool(again)
        sent += again
    return Batch(len(rows), changed, _behind(rows, limit), tuple(sent))


def replay_all(letters: Letters, *, by: str, limit: int = BATCH) -> list[UUID]:
    """Send them all again, in batches of `limit`; the ids of what will be sent. Give `until`, so that it ends."""
    sent: list[UUID] = []
    cursor: Cursor | None = None
    while True:
        batch = replay_batch(letters, cursor, by=by, limit=limit)
        sent += batch.sent
        if (cursor := batch.cursor) is None:
            return sent


def purge_batch(letters: Letters, cursor: Cursor | None, *, limit: int = BATCH) -> Batch:
    """Delete the next ones for good: their text, their address and their story."""
    rows = _next(letters, cursor, limit)
    with transaction.atomic():
        still = letters.rows().filter(id__in=[row.id for row in rows]).order_by("id")
        locked = list(still.select_for_update(skip_locked=True).values_list("id", flat=True))
        changed = Delivery.objects.filter(id__in=locked, status__in=LETTERS).delete()[0] if locked else 0
    return Batch(len(rows), changed, _behind(rows, limit))


def _next(letters: Letters, cursor: Cursor | None, limit: int) -> list[Delivery]:
    rows = letters.rows().only("id", "tenant_id", "created", "status").order_by("created", "id")
    if cursor is not None:
        after = Q(created__gt=cursor.created) | Q(created=cursor.created, id__gt=cursor.id)
        rows = rows.filter(after, created__gte=cursor.created)
    return list(rows[:limit])


def _behind(rows: Sequence[Delivery], limit: int) -> Cursor | None:
    return Cursor(rows[-1].created, rows[-1].id) if len(rows) == limit else None
