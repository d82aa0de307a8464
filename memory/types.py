"""What memory takes and gives. Memory never reads the hub's messages: the hub hands it each committed exchange."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

Role = Literal["user", "assistant", "system", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Whose memory: the session for the buffer, the subject (a Person, else the Contact) for what is long past."""

    tenant_id: UUID
    session_id: UUID
    subject_id: UUID


@dataclass(frozen=True, slots=True)
class Line:
    """One remembered utterance of a session; `seq` is the hub's acceptance order."""

    seq: int
    role: Role
    text: str
    speaker: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An agent's memory settings: when a fragment is full, how finely it is summarised, how much is recalled."""

    enabled: bool = True
    rounds: int = 10
    """A fragment is summarised when it holds this many rounds (user line + answer)…"""
    tokens: int = 3000
    """…or this many tokens, whichever comes first."""
    keep_rounds: int = 4
    """Rounds of the summarised fragment that stay in the prompt's buffer for continuity."""
    granularity: Literal["brief", "normal", "detailed"] = "normal"
    prompt: str = ""
    recall_limit: int = 8
    recall_tokens: int = 600
    vectors: bool = True
    """Off: nothing is embedded, and recall finds by words. A tenant's own switch goes before."""


@dataclass(slots=True)
class Buffer:
    """L2: the lines of a session that belong in the prompt, and which of them no batch has claimed yet."""

    lines: list[Line] = field(default_factory=list)
    open_from: int = 0
    """The first seq that is in no batch (the current fragment); lines before it are kept for continuity only."""
    last_seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A frozen order to summarise: made by the summary node in the turn, executed by Celery, idempotent by id."""

    id: UUID
    key: Key
    first_seq: int
    last_seq: int
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What one committed turn adds to memory: the lines it consumed and its answer, and a batch if one is full."""

    key: Key
    lines: Sequence[Line]
    batch: Batch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallItem:
    """One thing remembered, with where it came from (`seqs` of the session's messages)."""

    kind: Literal["summary", "line", "fact", "passage"]
    text: str
    score: float
    session_id: UUID
    seqs: Sequence[int] = ()
    at: datetime | None = None
    source_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What memory hands to a turn, best first, within the policy's tokens."""

    items: Sequence[RecallItem] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
