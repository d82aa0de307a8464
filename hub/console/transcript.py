"""A session as a chat: lines in order and what is being said right now, for those who work in the tenant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.urls import reverse
from django.utils.safestring import SafeString

from hub.console.prose import rendered
from hub.models import Delivery, Message, Session, Turn
from hub.pipeline.reading import message_body, turn_partial
from hub.pipeline.uploads import upload_id

PAGE: Final = 60
_ICONS: Final = {"image": "image", "audio": "mic", "voice": "mic", "video": "movie", "location": "location_on"}
_WRITTEN_BEFORE: Final = timedelta(minutes=15)
"""A message that grows on its platform has its delivery before the answer is stored."""
_TICKS: Final = {"sent": "✓", "delivered": "✓✓", "read": "✓✓"}


@dataclass(frozen=True, slots=True)
class Media:
    """A file of a message. `url` only where a browser may open it.

    Pictures that visitors uploaded come from the hub itself, behind its login, and are shown; others are only linked.
    """

    name: str
    kind: str
    icon: str
    url: str
    size: int | None
    shown: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One message as people read it."""

    id: UUID
    seq: int
    role: str
    text: str
    html: SafeString
    """An agent's text with its Markdown; empty for what people wrote."""
    name: str
    status: str
    status_words: str
    reason: str
    model: str
    tokens: int
    turn_id: UUID | None
    created: datetime
    attachments: tuple[Media, ...]
    quick_replies: tuple[str, ...]
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shipped:
    """How far an answer came on its platform."""

    id: UUID
    tone: str
    ticks: str
    words: Any


@dataclass(frozen=True, slots=True)
class Now:
    """What runs in the session: the turn, and the text that it has said so far."""

    turn_id: UUID
    status: str
    partial: SafeString
    since: datetime


@dataclass(frozen=True, slots=True)
class Transcript:
    """A page of it; `earlier` is the seq before which more was said, `last` the newest seq on it."""

    lines: tuple[Line, ...]
    earlier: int | None
    last: int
    shipped: dict[UUID, Shipped]
    now: Now | None
    newest: bool
    """The page ends with the newest message, so it may follow the conversation."""


def transcript(session_id: str, *, before: str = "", after: str = "") -> Transcript:
    """The last `PAGE` messages before a seq, or those after one; empty for an id that is not one. At most 5 queries."""
    try:
        ident = UUID(session_id)
    except ValueError:
        return Transcript((), None, 0, {}, None, newest=True)
    rows = Message.objects.filter(session_id=ident)
    if after.isdecimal():
        found = list(rows.filter(seq__gt=int(after)).order_by("seq")[:PAGE])
        earlier = None
    else:
        older = rows.filter(seq__lt=int(before)) if before.isdecimal() else rows
        found = list(older.order_by("-seq")[: PAGE + 1])
        earlier = found[PAGE - 1].seq if len(found) > PAGE else None
        found = found[:PAGE][::-1]
    lines = lines_of(found)
    newest = not before.isdecimal()
    last = lines[-1].seq if lines else int(after) if after.isdecimal() else 0
    return Transcript(lines, earlier, last, _shipped(ident, lines), running(ident) if newest else None, newest)


def lines_of(rows: Iterable[Message]) -> tuple[Line, ...]:
    """The messages, opened."""
    return tuple(_line(row) for row in rows)


def running(session_id: UUID) -> Now | None:
    """The turn that is at work in the session, or the next that waits."""
    state = Session.objects.filter(id=session_id).values_list("turn_id", "due_turns").first()
    if state is None or not (state[0] or state[1]):
        return None
    turns = Turn.objects.filter(session_id=session_id, status__in=("running", "due"))
    turn = (turns.filter(id=state[0]) if state[0] else turns.order_by("first_seq")).defer("trace", "tool_texts").first()
    if turn is None:
        return None
    return Now(turn.id, turn.status, rendered(turn_partial(turn)), turn.started_at or turn.created)


def _shipped(session_id: UUID, lines: Sequence[Line]) -> dict[UUID, Shipped]:
    """Per answer the state of its part that came least far."""
    answers = [line for line in lines if line.role == "assistant"]
    if not answers:
        return {}
    rows = Delivery.objects.filter(
        session_id=session_id,
        message_id__in=[line.id for line in answers],
        created__gte=answers[0].created - _WRITTEN_BEFORE,
    )
    found: dict[UUID, Shipped] = {}
    for row in rows.only("id", "message_id", "status", "receipt", "tenant_id").order_by("-position")[:500]:
        one = _one_shipped(row)
        before = found.get(row.message_id)
        if before is None or _RANK[one.tone] >= _RANK[before.tone]:
            found[row.message_id] = one
    return found


_RANK: Final = {"good": 0, "info": 1, "warn": 2, "bad": 3}
TONES: Final = {
    "pending": "info",
    "sending": "info",
    "live": "info",
    "sent": "good",
    "retry": "warn",
    "unknown": "warn",
    "dead": "bad",
    "skipped": "bad",
}


def _one_shipped(row: Delivery) -> Shipped:
    ticks = _TICKS.get(row.receipt, "✓" if row.status == "sent" else "")
    tone = "bad" if row.receipt == "failed" else TONES.get(row.status, "info")
    return Shipped(row.id, tone, ticks, row.get_status_display())


def _line(row: Message) -> Line:
    body = message_body(row)
    text = body.text if body else ""
    return Line(
        id=row.id,
        seq=row.seq,
        role=row.role,
        text=text,
        html=rendered(text) if row.role == "assistant" else SafeString(""),
        name=body.sender_name if body else "",
        status=row.status,
        status_words=row.get_status_display(),
        reason=row.reason,
        model=row.model,
        tokens=row.tokens,
        turn_id=row.turn_id,
        created=row.created,
        attachments=tuple(_media(part) for part in (body.attachments if body else ())),
        quick_replies=tuple(body.quick_replies) if body else (),
        tools=tuple(str(call.get("name", "")) for call in (body.tool_calls if body else ())),
    )


def _media(part: Any) -> Media:
    kind, url = str(part.get("kind", "file")), str(part.get("url", ""))
    stored = _stored(str(part.get("platform_id") or ""))
    return Media(
        name=str(part.get("name") or part.get("media_type") or kind),
        kind=kind,
        icon=_ICONS.get(kind, "attach_file"),
        url=stored or (url if url.startswith("https://") else ""),
        size=part.get("size"),
        shown=bool(stored) and str(part.get("media_type", "")).startswith("image/"),
    )


def _stored(platform_id: str) -> str:
    """Where a visitor's own upload is found; empty for files of platforms."""
    try:
        ident = upload_id(platform_id)
    except ValueError:  # a platform may name its files as it likes
        return ""
    return "" if ident is None else reverse("upload", args=[ident])
