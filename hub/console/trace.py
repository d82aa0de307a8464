"""One turn as an operator reads it: where its time and its tokens went, and what became of its answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from django.db.models import Q
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from hub.console.prose import rendered
from hub.console.recalled import Recalled, recalled
from hub.console.transcript import Line, lines_of
from hub.console.turn_words import DETAILS, FAULTS, NODES, OUTCOMES
from hub.models import Delivery, Event, Message, Session, Turn
from hub.pipeline.reading import session_title, turn_partial

MOST_MESSAGES: Final = 20
MOST_DELIVERIES: Final = 50
MOST_EVENTS: Final = 50
_NEAR: Final = 1_000
"""How many places in the session a turn's own messages may lie behind its first one."""
_AFTERWARDS: Final = timedelta(minutes=5)
RUNNING: Final = ("due", "running")


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of a turn's life, from the message's arrival to the last part's delivery."""

    key: str
    name: Any
    ms: float
    share: float
    """In percent of the whole; never so small that it cannot be seen."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the waterfall."""

    kind: str
    name: Any
    at: float
    ms: float
    left: float
    width: float
    outcome: str
    words: Any
    notes: tuple[tuple[Any, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One model call."""

    number: int
    provider: str
    model: str
    fault: Any
    input: int
    output: int
    cached: int
    cost: float
    first_ms: float | None
    ms: float | None
    estimated: bool


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One tool call; its words are opened on demand."""

    number: int
    name: str
    ms: float
    outcome: str
    words: Any


@dataclass(frozen=True, slots=True)
class TurnPage:
    """Everything the page of one turn shows. Contents are empty while all tenants are in view."""

    turn: Turn
    title: str
    total_ms: float | None
    phases: tuple[Phase, ...]
    bars: tuple[Bar, ...]
    calls: tuple[Call, ...]
    tools: tuple[ToolRow, ...]
    client_tools: tuple[str, ...]
    recalled: tuple[Recalled, ...]
    asked: tuple[Line, ...]
    answered: tuple[Line, ...]
    partial: SafeString
    deliveries: tuple[Delivery, ...]
    events: tuple[Event, ...]
    cost: float
    tokens: tuple[int, int, int]
    failed_calls: int
    first_word_ms: float | None
    running: bool
    taken: Mapping[str, int]
    readable: bool


def turn_page(turn: Turn, *, readable: bool) -> TurnPage:
    """The page of a turn; `readable` when its tenant is chosen, so that contents may be opened. At most 8 queries."""
    trace: Mapping[str, Any] = turn.trace if isinstance(turn.trace, Mapping) else {}
    deliveries = _deliveries(turn)
    calls = tuple(_call(number, item) for number, item in enumerate(_items(trace, "calls"), 1))
    said = lines_of(_messages(turn)) if readable else ()
    steps = _items(trace, "steps")
    session = Session.objects.filter(id=turn.session_id).only("id", "tenant_id", "title").first()
    return TurnPage(
        turn=turn,
        title=session_title(session) if session and readable else "",
        total_ms=_between(turn.created, turn.finished_at),
        phases=_phases(turn, deliveries),
        bars=_bars(trace),
        calls=calls,
        tools=tuple(_tool(number, item) for number, item in enumerate(_items(trace, "tools"))),
        client_tools=tuple(str(name) for name in trace.get("client_tools") or ()),
        recalled=recalled(turn.tenant_id, _items(trace, "recalled")) if readable else (),
        asked=tuple(line for line in said if line.role != "assistant"),
        answered=tuple(line for line in said if line.role == "assistant"),
        partial=rendered(turn_partial(turn)) if readable and turn.status == "running" else SafeString(""),
        deliveries=deliveries,
        events=tuple(_events(turn, deliveries)),
        cost=sum(call.cost for call in calls),
        tokens=(turn.input_tokens, turn.output_tokens, sum(call.cached for call in calls)),
        failed_calls=sum(bool(call.fault) for call in calls),
        first_word_ms=_between(turn.created, turn.first_token_at),
        running=turn.status in RUNNING,
        taken={str(step.get("node")): 1 for step in steps},
        readable=readable,
    )


def _messages(turn: Turn) -> Sequence[Message]:
    near = Message.objects.filter(
        session_id=turn.session_id, seq__gte=turn.first_seq, seq__lte=turn.last_seq + _NEAR, turn_id=turn.id
    )
    return list(near.order_by("seq")[:MOST_MESSAGES])


def _deliveries(turn: Turn) -> tuple[Delivery, ...]:
    rows = Delivery.objects.filter(session_id=turn.session_id, turn_id=turn.id, created__gte=turn.created)
    if turn.finished_at is not None:
        rows = rows.filter(created__lte=turn.finished_at + _AFTERWARDS)
    found = rows.defer("address", "part", "connection__secrets").select_related("connection")
    return tuple(found.order_by("position")[:MOST_DELIVERIES])


def _events(turn: Turn, deliveries: Sequence[Delivery]) -> Sequence[Event]:
    about = Q(turn_id=turn.id)
    if deliveries:
        about |= Q(delivery_id__in=[row.id for row in deliveries])
    return list(Event.objects.filter(about).order_by("created")[:MOST_EVENTS])


def _phases(turn: Turn, deliveries: Sequence[Delivery]) -> tuple[Phase, ...]:
    sent = max((row.sent_at for row in deliveries if row.sent_at is not None), default=None)
    marks: list[tuple[str, Any, datetime | None]] = [
        ("", "", turn.created),
        ("waiting", _("waiting for a runner"), turn.started_at),
        ("thinking", _("until the first word"), turn.first_token_at),
        ("writing", _("writing and storing"), turn.finished_at),
        ("sending", _("on the way to the platform"), sent),
    ]
    known = [(key, name, moment) for key, name, moment in marks if moment is not None]
    spans = [
        (key, name, max(0.0, (moment - before).total_seconds() * 1000))
        for (_k, _n, before), (key, name, moment) in pairwise(known)
    ]
    total = sum(ms for _k, _n, ms in spans) or 1.0
    return tuple(Phase(key, name, ms, max(1.5, round(ms / total * 100, 1))) for key, name, ms in spans)


def _bars(trace: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Steps, and under each the calls and tools that began while it ran."""
    steps = _items(trace, "steps")
    inner = [("call", item) for item in _items(trace, "calls") if "at" in item]
    inner += [("tool", item) for item in _items(trace, "tools") if "at" in item]
    inner.sort(key=lambda pair: _number(pair[1], "at"))
    total = max((_start(item) + _lasted(item) for item in [*steps, *(item for _, item in inner)]), default=0.0) or 1.0
    bars: list[Bar] = []
    for step in steps:
        bars.append(_bar("step", step, total))
        end = _start(step) + _lasted(step)
        while inner and _start(inner[0][1]) < end:
            bars.append(_bar(*inner.pop(0), total))
    bars += [_bar(kind, item, total) for kind, item in inner]
    return tuple(bars)


def _bar(kind: str, item: Mapping[str, Any], total: float) -> Bar:
    at, ms = _start(item), _lasted(item)
    outcome = str(item.get("outcome", "error" if item.get("fault") else "ok"))
    names = {"step": NODES.get(str(item.get("node")), item.get("node")), "call": item.get("model")}
    left = min(99.0, round(at / total * 100, 2))
    return Bar(
        kind=kind,
        name=names.get(kind, item.get("name")),
        at=at,
        ms=ms,
        left=left,
        width=max(0.6, min(100 - left, round(ms / total * 100, 2))),
        outcome=outcome,
        words=FAULTS.get(str(item.get("fault")), item.get("fault")) or OUTCOMES.get(outcome, outcome),
        notes=_notes(item.get("detail")),
    )


def _notes(detail: object) -> tuple[tuple[Any, Any], ...]:
    if not isinstance(detail, Mapping):
        return ()
    notes: list[tuple[Any, Any]] = []
    for key, word in DETAILS.items():
        value = detail.get(key)
        if value in (None, 0, "", [], False):
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        notes.append((word, _("yes") if shown is True else shown))
    return tuple(notes)


def _call(number: int, item: Mapping[str, Any]) -> Call:
    fault = item.get("fault")
    return Call(
        number=number,
        provider=str(item.get("provider", "")),
        model=str(item.get("model", "")),
        fault=FAULTS.get(str(fault), fault) if fault else "",
        input=int(_number(item, "input")),
        output=int(_number(item, "output")),
        cached=int(_number(item, "cached")),
        cost=_number(item, "cost"),
        first_ms=_number(item, "first_ms") if "first_ms" in item else None,
        ms=_number(item, "ms") if "ms" in item else None,
        estimated=bool(item.get("estimated")),
    )


def _tool(number: int, item: Mapping[str, Any]) -> ToolRow:
    outcome = str(item.get("outcome", "ok"))
    return ToolRow(number, str(item.get("name", "?")), _lasted(item), outcome, OUTCOMES.get(outcome, outcome))


def _items(trace: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = trace.get(name)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, Iterable) else []


def _start(item: Mapping[str, Any]) -> float:
    return _number(item, "at")


def _lasted(item: Mapping[str, Any]) -> float:
    return _number(item, "ms")


def _number(item: Mapping[str, Any], name: str) -> float:
    value = item.get(name, 0)
    return float(value) if isinstance(value, int | float) else 0.0


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start).total_seconds() * 1000)
