"""Runs the tool calls of a model's answer, with time limits, size caps and the ledger for those with effects."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from agents.tools.base import ArgumentsInvalid, Tool, ToolContext, read_arguments
from agents.tools.ledger import Claim, Ledger
from agents.types import ChatMessage, ToolCall, ToolRun

MAX_CALLS = 16
"""Tool calls of one answer that are run; the others are answered with a refusal."""
UNKNOWN = (
    "The outcome of this call is unknown: it was started before an interruption and may have taken effect. "
    "Do not repeat it; tell the person and let them check."
)
_log = logging.getLogger(__name__)


def worked(text: str) -> bool:
    """Whether a tool's answer is its result and not a word about its failure."""
    return text != UNKNOWN and not text.startswith("Error: ")


@dataclass(slots=True)
class Asked:
    """Which effectful calls a turn has asked so far, so that equal ones are told apart; and all runs, for the trace."""

    counts: Counter[bytes] = field(default_factory=Counter)
    runs: list[ToolRun] = field(default_factory=list)


class ToolRunner:
    """Shared by all turns; holds no state of any of them."""

    def __init__(self, tools: Mapping[str, Tool], ledger: Ledger) -> None:
        self._tools = tools
        self._ledger = ledger

    def has(self, name: str) -> bool:
        """Whether the hub can run this tool."""
        return name in self._tools

    def tool(self, name: str) -> Tool:
        """The tool of this name; KeyError when there is none."""
        return self._tools[name]

    async def run(
        self,
        calls: Sequence[ToolCall],
        allowed: Sequence[str],
        context: ToolContext,
        asked: Asked,
        *,
        done: Callable[[ToolCall, bool], None] = lambda _call, _ok: None,
    ) -> list[ChatMessage]:
        """The answers for the model, in the order of the calls. Failures are told to the model, never raised.

        Calls that only read run side by side; as soon as one has an effect, they run one after the other. `done` is
        called as each ends, with whether it worked.
        """

        async def one(tool: Tool | None, call: ToolCall) -> str:
            text = await self._traced(tool, call, context, asked)
            done(call, tool is not None and worked(text))
            return text

        ready = [self._ready(call, allowed) for call in calls[:MAX_CALLS]]
        if all(tool is None or tool.effect == "none" for tool in ready):
            pairs = zip(ready, calls[:MAX_CALLS], strict=True)
            texts = await asyncio.gather(*(one(tool, call) for tool, call in pairs))
        else:
            pairs = zip(ready, calls[:MAX_CALLS], strict=True)
            texts = [await one(tool, call) for tool, call in pairs]
        texts += ["Not run: too many calls at once."] * (len(calls) - len(texts))
        pairs_out = zip(calls, texts, strict=True)
        return [ChatMessage(role="tool", text=text, tool_call_id=call.id, name=call.name) for call, text in pairs_out]

    def _ready(self, call: ToolCall, allowed: Sequence[str]) -> Tool | None:
        return self._tools.get(call.name) if call.name in allowed else None

    async def _traced(self, tool: Tool | None, call: ToolCall, context: ToolContext, asked: Asked) -> str:
        began, text = perf_counter(), UNKNOWN
        try:
            text = await self._one(tool, call, context, asked)
        finally:  # a call that was cut off by a stop has a line of the trace, too
            asked.runs.append(
                ToolRun(
                    name=call.name,
                    arguments=call.arguments,
                    result=text,
                    began=began,
                    lasted_ms=(perf_counter() - began) * 1000,
                    outcome="unknown" if text is UNKNOWN else "ok" if tool is not None and worked(text) else "error",
                )
            )
        return text

    async def _one(self, tool: Tool | None, call: ToolCall, context: ToolContext, asked: Asked) -> str:
        if tool is None:
            return f"There is no tool named {call.name[:60]!r}."
        if tool.effect == "none":
            return (await self._execute(tool, call, context))[: tool.max_chars]
        claim = _claim(tool, call, context, asked)
        prior = await self._ledger.begin(claim)
        if prior.state == "done":
            return prior.result
        if prior.state == "open" and tool.effect == "once":
            return UNKNOWN
        text = (await self._execute(tool, call, context))[: tool.max_chars]
        await self._ledger.finish(claim, prior, text)
        return text

    async def _execute(self, tool: Tool, call: ToolCall, context: ToolContext) -> str:
        try:
            arguments = read_arguments(tool.schema, call.arguments)
            async with asyncio.timeout(tool.seconds):
                return await tool.run(arguments, context)
        except ArgumentsInvalid as error:
            return f"Error: {error}."
        except TimeoutError:
            if tool.effect == "once":
                return UNKNOWN
            return "Error: the tool took too long."
        except Exception:  # noqa: BLE001 - a tool is foreign code; its failure is an answer to the model, logged for us
            _log.exception("tool_failed", extra={"tool": tool.schema.name})
            return UNKNOWN if tool.effect == "once" else "Error: the tool failed."


def _outcome(tool: Tool | None, text: str) -> Literal["ok", "error", "unknown"]:
    if text is UNKNOWN:
        return "unknown"
    return "error" if tool is None or text.startswith("Error: ") else "ok"


def _claim(tool: Tool, call: ToolCall, context: ToolContext, asked: Asked) -> Claim:
    turn = context.turn
    first = Claim(
        tenant_id=turn.key.tenant_id,
        turn_id=turn.turn_id,
        name=call.name,
        effect=tool.effect,
        arguments=call.arguments,
        ordinal=0,
    )
    ordinal = asked.counts[first.fingerprint]
    asked.counts[first.fingerprint] += 1
    if not ordinal:
        return first
    return Claim(
        tenant_id=first.tenant_id,
        turn_id=first.turn_id,
        name=first.name,
        effect=first.effect,
        arguments=first.arguments,
        ordinal=ordinal,
    )
