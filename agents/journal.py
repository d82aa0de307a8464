"""What a turn has finished, as bytes: enough to go on in another process without asking a model or a tool again.

Kept is what a model or a tool was asked for and what more work follows; a plain turn (one call, then its commit) keeps
nothing. The beginning of the conversation is not kept but built again: it holds images and the whole buffer.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import orjson

from agents.standard import Services, State
from agents.types import ChatMessage, Image, Source, StepTrace, ToolCall, ToolRun, Usage
from agents.workflow import END, Position
from memory.types import RecallItem

_log = logging.getLogger(__name__)

LAST_STEPS = frozenset({END, "summary"})
"""What only computes: a turn that is this far is run again sooner than another write is waited for."""
_DERIVED = frozenset({"messages", "text", "folded", "began"})
_TAG = "~"
_KEPT = (ChatMessage, Image, ToolCall, ToolRun, RecallItem, Source, Usage)
_KINDS: Mapping[str, type[Any]] = {kind.__name__: kind for kind in _KEPT}


class Journal(Protocol):
    """Where one turn's entry is kept; a new entry takes the old one's place."""

    async def load(self) -> bytes | None:
        """What an earlier attempt at the turn has kept."""

    async def keep(self, entry: bytes) -> None:
        """Make the entry durable. Raises when that cannot be, and then the turn must not go on."""


@dataclass(slots=True)
class Keeping:
    """The checkpoint hook of one running turn."""

    journal: Journal
    workflow: str
    services: Services
    steps: list[StepTrace]
    kept: int = 0
    """How many model and tool calls the last entry knows of."""

    def __call__(self, position: Position, state: State) -> Awaitable[None] | None:
        """Keep the turn as it stands now, if something was asked since the last entry and more work follows."""
        done = len(self.services.usage) + self.services.ran
        if done == self.kept or position.next in LAST_STEPS:
            return None
        self.kept = done
        return self.journal.keep(self._entry(position, state))

    def _entry(self, position: Position, state: State) -> bytes:
        services = self.services
        values = {name: value for name, value in state.items() if name not in _DERIVED}
        if "messages" in state:
            values["tail"] = state["messages"][state["built"] :]
        entry = {
            "workflow": self.workflow,
            "next": position.next,
            "taken": position.taken,
            "branches": position.branches,
            "state": values,
            "usage": services.usage,
            "ran": services.ran,
            "asked": {print_.hex(): count for print_, count in services.asked.counts.items()},
            "steps": [step.node for step in self.steps],
        }
        return orjson.dumps(_plain(entry))

    async def resume(self, state: State) -> Position | None:
        """Bring state and services to where an earlier attempt stopped; None where it kept nothing that fits."""
        blob = await self.journal.load()
        entry = None if blob is None else _read(blob)
        if entry is None or entry["workflow"] != self.workflow:
            return None
        state.update(entry["state"])
        # Moments of another process's clock say nothing here.
        state["tool_runs"] = [replace(run, began=0.0) for run in entry["state"].get("tool_runs", ())]
        services = self.services
        services.usage += [replace(call, began=0.0) for call in entry["usage"]]
        services.ran = entry["ran"]
        services.asked.counts = Counter({bytes.fromhex(print_): count for print_, count in entry["asked"].items()})
        self.kept = len(services.usage) + services.ran
        self.steps += [StepTrace(node=name, started_ms=0, duration_ms=0, outcome="resumed") for name in entry["steps"]]
        return Position(entry["next"], entry["taken"], entry["branches"])


def _read(blob: bytes) -> Any:
    try:
        return _whole(orjson.loads(blob))
    except (ValueError, KeyError, TypeError):  # written by another version of the code: the turn begins anew
        _log.warning("journal_unreadable", exc_info=True)
        return None


def _plain(value: Any) -> Any:
    """JSON values, with what is none of them named; raises TypeError for what a state must not hold."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(item) for item in value]
    if isinstance(value, UUID):
        return {_TAG: "uuid", "v": value.hex}
    if isinstance(value, datetime):
        return {_TAG: "time", "v": value.isoformat()}
    name = type(value).__name__
    if _KINDS.get(name) is not type(value):
        raise TypeError(f"a turn's state must not hold a {name}: it could not be resumed")
    return {_TAG: name, "v": {each.name: _plain(getattr(value, each.name)) for each in fields(value)}}


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TAG not in value:
        return {name: _whole(item) for name, item in value.items()}
    kind, inner = value[_TAG], value["v"]
    if kind == "uuid":
        return UUID(hex=inner)
    if kind == "time":
        return datetime.fromisoformat(inner)
    return _KINDS[kind](**{name: _whole(item) for name, item in inner.items()})
