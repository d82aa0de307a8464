"""A session as a chat: the newest lines in order, opened for those who work in the tenant."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from hub.models import Message
from hub.pipeline.reading import message_body

PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One message as people read it."""

    id: UUID
    seq: int
    role: str
    text: str
    name: str
    status: str
    reason: str
    model: str
    turn_id: UUID | None
    created: datetime
    attachments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Transcript:
    """A page of it; `earlier` is the seq before which more was said."""

    lines: tuple[Line, ...]
    earlier: int | None


def transcript(session_id: str, *, before: str = "") -> Transcript:
    """The last `PAGE` messages before a seq; none for an id that is not one."""
    try:
        rows = Message.objects.filter(session_id=UUID(session_id)).order_by("-seq")
    except ValueError:
        return Transcript((), None)
    if before.isdecimal():
        rows = rows.filter(seq__lt=int(before))
    found = list(rows[: PAGE + 1])
    more = len(found) > PAGE
    lines = tuple(_line(row) for row in reversed(found[:PAGE]))
    return Transcript(lines, lines[0].seq if more and lines else None)


def _line(row: Message) -> Line:
    body = message_body(row)
    names = tuple(str(part.get("name") or part.get("kind", "")) for part in (body.attachments if body else ()))
    return Line(
        id=row.id,
        seq=row.seq,
        role=row.role,
        text=body.text if body else "",
        name=body.sender_name if body else "",
        status=row.status,
        reason=row.reason,
        model=row.model,
        turn_id=row.turn_id,
        created=row.created,
        attachments=names,
    )
