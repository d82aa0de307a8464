"""What people do to rows from outside the message path: run again, send again, skip, name a session. All audited.

Synchronous, for Django code, under the tenant's scope of the caller.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, When
from django.db.models.functions import Coalesce, Greatest, Least, Now

from hub.models import Delivery, DeliveryStatus, Event, Message, MessageStatus, Session, SessionOwner, Turn, TurnStatus
from hub.pipeline.reading import seal_title
from tenants.ids import uuid7

WINDOW = timedelta(minutes=15)
RETRIABLE = (DeliveryStatus.DEAD, DeliveryStatus.UNKNOWN, DeliveryStatus.SKIPPED, DeliveryStatus.RETRY)
SKIPPABLE = (DeliveryStatus.PENDING, DeliveryStatus.RETRY)
_ENDED = (DeliveryStatus.DEAD, DeliveryStatus.UNKNOWN, DeliveryStatus.SKIPPED)


def note(tenant_id: UUID, kind: str, *, data: Mapping[str, Any] | None = None, **about: UUID | None) -> None:
    """Write an event. `about` takes connection_id, session_id, turn_id, delivery_id; `data` never holds texts."""
    Event.objects.create(id=uuid7(), tenant_id=tenant_id, type=kind, data=dict(data or {}), created=Now(), **about)


def retry_delivery(delivery_id: UUID, *, by: str) -> bool:
    """Send an ended delivery again, or one that waits at once; False when it is neither.

    It keeps its place in the session, so later parts wait for it as they would have.
    """
    with transaction.atomic():
        row = _locked(delivery_id)
        if row is None or row.status not in RETRIABLE:
            return False
        if row.status in _ENDED:
            Session.objects.filter(id=row.session_id).update(unsettled=F("unsettled") + 1)
        Delivery.objects.filter(id=row.id).update(
            status=DeliveryStatus.PENDING, due_at=Now(), expires_at=Now() + WINDOW, lease_owner=None, lease_until=None
        )
        _note_delivery(row, "delivery.retried", by)
    return True


def skip_delivery(delivery_id: UUID, *, by: str) -> bool:
    """Give up a delivery that waits, so that later parts may go; False when it does not wait."""
    with transaction.atomic():
        row = _locked(delivery_id)
        if row is None or row.status not in SKIPPABLE:
            return False
        Session.objects.filter(id=row.session_id).update(unsettled=Greatest(F("unsettled") - 1, 0))
        Delivery.objects.filter(id=row.id).update(
            status=DeliveryStatus.SKIPPED,
            due_at=None,
            lease_owner=None,
            lease_until=None,
            detail=f"skipped by {by}"[:300],
        )
        _note_delivery(row, "delivery.skipped", by)
    return True


RERUNNABLE = (TurnStatus.DEAD, TurnStatus.FAILED)


def rerun_turn(turn_id: UUID, *, by: str) -> bool:
    """Let the agent answer once more what a dead or failed turn answered; False when it is neither.

    The turn keeps its place in the queue and its finished tool calls, which are never repeated; the new answer follows
    what was said since. Nothing happens where a person has taken over, or to notices.
    """
    with transaction.atomic():
        row = _locked_turn(turn_id)
        if (
            row is None
            or row.status not in RERUNNABLE
            or row.kind != "reply"
            or row.session.owner != SessionOwner.AGENT
        ):
            return False
        mine = Message.objects.filter(session_id=row.session_id, seq__gte=row.first_seq, seq__lte=row.last_seq)
        if not mine.filter(turn_id=row.id, status=MessageStatus.ACCEPTED).update(turn_id=None):
            return False
        Turn.objects.filter(id=row.id).update(
            status=TurnStatus.DUE, merge=False, attempts=0, error="", partial=None, started_at=None,
            first_token_at=None, finished_at=None, created=Now(),
        )  # fmt: skip
        Session.objects.filter(id=row.session_id).update(
            due_turns=F("due_turns") + 1,
            due_at=Case(
                When(turn_id__isnull=True, then=Least(Coalesce(F("due_at"), Now()), Now())), default=F("due_at")
            ),
            next_due_at=Now(),
            due_since=Coalesce(F("due_since"), Now()),
        )
        about = {"session_id": row.session_id, "turn_id": row.id}
        note(row.tenant_id, "turn.rerun", data={"by": by, "was": row.status}, **about)
    return True


def _locked_turn(turn_id: UUID) -> Turn | None:
    found = Turn.objects.filter(id=turn_id).values_list("session_id", flat=True).first()
    if found is None:
        return None
    session = Session.objects.select_for_update().filter(id=found).only("id", "owner").first()
    turns = Turn.objects.select_for_update().filter(id=turn_id).defer("trace", "tool_texts", "partial")
    row: Turn | None = turns.first()
    if row is None or session is None:
        return None
    row.session = session
    return row


def name_session(session: Session, title: str) -> None:
    """Set (or with an empty text remove) the title that people gave a session."""
    session.title = seal_title(session, title) if title else None
    Session.objects.filter(id=session.id).update(title=session.title)


def _locked(delivery_id: UUID) -> Delivery | None:
    # Locks go from session to delivery everywhere.
    found: Delivery | None = Delivery.objects.filter(id=delivery_id).only("id", "session_id").first()
    if found is None:
        return None
    Session.objects.select_for_update().filter(id=found.session_id).values_list("id", flat=True).first()
    row: Delivery | None = Delivery.objects.select_for_update().filter(id=delivery_id).defer("address", "part").first()
    return row


def _note_delivery(row: Delivery, kind: str, by: str) -> None:
    note(
        row.tenant_id,
        kind,
        data={"by": by, "was": row.status},
        connection_id=row.connection_id,
        session_id=row.session_id,
        turn_id=row.turn_id,
        delivery_id=row.id,
    )
