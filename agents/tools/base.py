"""What a tool is. Its `effect` decides what happens after a crash between asking and answering."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from agents.ports import Memory
from agents.providers.base import Toolset
from agents.types import ToolSchema, TurnInput

Effect = Literal["none", "idempotent", "once"]
Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may use: the turn that asks, and memory."""

    turn: TurnInput
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool: `none` only reads; `idempotent` may run again; `once` must never be repeated."""

    schema: ToolSchema
    run: Callable[[Arguments, ToolContext], Awaitable[str]]
    effect: Effect = "none"
    seconds: float = 10.0
    max_chars: int = 8_000
    cites: Literal["", "memory", "document", "tool"] = ""
    """What its result is to a reader of the answer; empty: it is for the model alone and never shown."""


class ArgumentsInvalid(ValueError):
    """The model's arguments do not fit the tool; the text goes back to the model."""


def toolset(schemas: Sequence[ToolSchema]) -> Toolset:
    """Tools as the model sees them, encoded; built once per agent version."""
    if not schemas:
        return Toolset()
    entries = [
        {
            "type": "function",
            "function": {"name": s.name, "description": s.description, "parameters": dict(s.parameters)},
        }
        for s in schemas
    ]
    return Toolset(schemas=tuple(schemas), wire=orjson.dumps(entries))


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def read_arguments(schema: ToolSchema, raw: str) -> Arguments:
    """The arguments that the model wrote, checked for shape, required names and plain types."""
    try:
        given = orjson.loads(raw or "{}")
    except orjson.JSONDecodeError as error:
        raise ArgumentsInvalid("the arguments are not valid JSON") from error
    if not isinstance(given, dict):
        raise ArgumentsInvalid("the arguments must be a JSON object")
    parameters: Mapping[str, Any] = schema.parameters
    missing = [name for name in parameters.get("required", ()) if name not in given]
    if missing:
        raise ArgumentsInvalid("missing: " + ", ".join(missing))
    for name, rule in parameters.get("properties", {}).items():
        wanted = _TYPES.get(str(rule.get("type", "")))
        if name in given and wanted is not None and not isinstance(given[name], wanted):
            raise ArgumentsInvalid(f"{name} must be of type {rule['type']}")
    return given
