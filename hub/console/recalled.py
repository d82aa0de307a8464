"""What a turn's recalled items say: their texts are looked up in memory when somebody asks, a trace keeps none."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from hub.console.turn_words import RECALLED
from hub.pipeline.reading import load, vault
from memory.cells import cell
from memory.models import MemoryLine, Summary
from memory.packing import unpack_lines
from memory.store import open_line
from memory.types import Line
from tenants.errors import TenantsError

Place = tuple[UUID, int]
"""A session and a line's seq in memory."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """One item as an operator reads it; `text` is empty where it was erased since."""

    kind: Any
    score: float
    share: int
    """The score in percent of the best one."""
    text: str
    speaker: str
    at: datetime | None
    session_id: UUID | None


def recalled(tenant_id: UUID, items: Iterable[Any]) -> tuple[Recalled, ...]:
    """The items of a trace with their texts: at most two queries."""
    found = [item for item in items if isinstance(item, Mapping)]
    if not found:
        return ()
    load(tenant_id)
    summaries = {
        row.id: row
        for row in Summary.objects.filter(id__in=_ids(found)).only("id", "tenant", "session_id", "text", "body")
    }
    lines = _own_lines(tenant_id, found) | _packed_lines(summaries.values())
    best = max((_score(item) for item in found), default=0.0) or 1.0
    return tuple(_one(item, summaries, lines, best) for item in found)


def _one(item: Mapping[str, Any], summaries: Mapping[UUID, Summary], lines: dict[Place, Line], best: float) -> Recalled:
    session, seqs = _uuid(item.get("session")), item.get("seqs") or ()
    text, line = "", None
    if item.get("kind") == "summary":
        row = summaries.get(_uuid(item.get("source")) or UUID(int=0))
        text = "" if row is None else _opened(row, "text", bytes(row.text)).decode("utf-8", "replace")
    elif session is not None and seqs:
        line = lines.get((session, int(seqs[0])))
        text = line.text if line else ""
    score = _score(item)
    return Recalled(
        kind=RECALLED.get(str(item.get("kind")), item.get("kind")),
        score=score,
        share=max(2, min(100, round(score / best * 100))),
        text=text,
        speaker=line.speaker if line else "",
        at=line.at if line else None,
        session_id=session,
    )


def _own_lines(tenant_id: UUID, found: Iterable[Mapping[str, Any]]) -> dict[Place, Line]:
    wanted = Q()
    for item in found:
        session, seqs = _uuid(item.get("session")), item.get("seqs") or ()
        if session is not None and seqs and item.get("kind") == "line" and not item.get("source"):
            wanted |= Q(session_id=session, seq=int(seqs[0]))
    if not wanted:
        return {}
    rows = MemoryLine.objects.filter(wanted).values_list("id", "seq", "role", "body", "said_at", "session_id")
    spoken: dict[Place, Line] = {}
    for *row, session_id in rows:
        try:
            spoken[session_id, row[1]] = open_line(vault(), tenant_id, row)
        except TenantsError:
            continue  # its key was destroyed: the item is shown without words
    return spoken


def _packed_lines(rows: Iterable[Summary]) -> dict[Place, Line]:
    spoken: dict[Place, Line] = {}
    for row in rows:
        packed = _opened(row, "body", bytes(row.body))
        for line in unpack_lines(packed) if packed else ():
            spoken[row.session_id, line.seq] = line
    return spoken


def _opened(row: Summary, column: str, blob: bytes) -> bytes:
    try:
        return vault().open(cell(row.tenant_id, "summary", column, row.id), blob)
    except TenantsError:
        return b""  # its key was destroyed: the item is shown without words


def _ids(found: Iterable[Mapping[str, Any]]) -> list[UUID]:
    return [ident for item in found if (ident := _uuid(item.get("source"))) is not None]


def _score(item: Mapping[str, Any]) -> float:
    value = item.get("score", 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None
