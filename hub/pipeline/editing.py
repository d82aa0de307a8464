"""A message that says an earlier one anew: the earlier one and what followed it are superseded.

They stay stored and operators see them; the model does not. The turn leaves them out by itself, whatever was marked
before, and marks them in its commit: with the new answer, or not at all.
A stopped answer may be stored after the new message; it is told by its turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agents.types import SessionState
from hub.pipeline.bodies import Body
from hub.pipeline.messages import SUPERSEDED
from hub.pipeline.run import Run
from memory.retracting import retract
from memory.types import Buffer

Place = tuple[int, UUID]

_MARK = """
UPDATE message SET reason = %(reason)s
WHERE session_id = %(session)s AND tenant_id = %(tenant)s AND reason = '' AND seq >= %(first)s AND (
    seq < %(end)s OR role = 'assistant' AND turn_id IN (
        SELECT turn_id FROM message
        WHERE session_id = %(session)s AND seq >= %(first)s AND seq < %(end)s AND turn_id <> %(turn)s))
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Messages with `first <= seq < end` are superseded."""

    first: int
    end: int


def spans(places: Sequence[Place], bodies: Sequence[Body]) -> list[Span]:
    """What the turn's messages supersede; usually nothing."""
    pairs = zip(places, bodies, strict=True)
    return [Span(int(body.edits["seq"]), seq) for (seq, _), body in pairs if body.edits]


def standing(places: Sequence[Place], bodies: Sequence[Body]) -> tuple[Sequence[Place], Sequence[Body]]:
    """The turn's messages without those that a later one of them says anew."""
    found = spans(places, bodies)
    if not found:
        return places, bodies
    kept = [
        (place, body)
        for place, body in zip(places, bodies, strict=True)
        if not any(span.first <= place[0] < span.end for span in found)
    ]
    return [place for place, _ in kept], [body for _, body in kept]


def rewound(state: SessionState, places: Sequence[Place], bodies: Sequence[Body]) -> SessionState:
    """The state without the lines of superseded messages; memory's lines are numbered from 2 x seq."""
    found = spans(places, bodies)
    if not found:
        return state
    buffer = state.buffer
    lines = [line for line in buffer.lines if not any(2 * s.first <= line.seq < 2 * s.end for s in found)]
    return SessionState(version=state.version, buffer=Buffer(lines, buffer.open_from, buffer.last_seq))


async def supersede(conn: Any, run: Run) -> None:
    """Mark what the run's messages supersede and take it out of memory, in the commit's transaction."""
    claimed = run.claimed
    if run.input is None:
        return
    for span in spans(claimed.messages, run.bodies) if run.bodies else ():
        values = {"first": span.first, "end": span.end, "session": claimed.session_id, "tenant": claimed.tenant_id}
        await conn.execute(_MARK, {**values, "reason": SUPERSEDED, "turn": claimed.turn_id})
        await retract(conn, run.input.key, first=2 * span.first, end=2 * span.end)
