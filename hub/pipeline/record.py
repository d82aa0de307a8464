"""What is written down of a turn's end: pure translations of its result."""

from decimal import Decimal
from typing import Any, Final

import orjson

from agents.types import StepTrace, TurnResult, Usage
from channels_adapters.types import Part, QuickReply, Reply
from hub.pipeline.bodies import Body
from hub.pipeline.run import MOST_ATTEMPTS, Run
from memory.types import RecallItem
from tenants import usage

MOST_TRACED: Final = 40
"""Recalled items and tool calls that a trace names."""
MOST_TOOL_CHARS: Final = 2_000
"""Characters kept of a tool's arguments, and of its result."""
MOST_CITATIONS: Final = 8
TITLE_CHARS: Final = 80
EXCERPT_CHARS: Final = 600


def status(run: Run, result: TurnResult) -> str:
    """How the turn ended, as its row says it."""
    if run.claimed.attempts > MOST_ATTEMPTS and run.input is None:
        return "dead"
    return {"error": "failed", "stopped": "stopped"}.get(result.finish, "finished")


def reply_body(result: TurnResult) -> Body:
    """The content of the stored reply."""
    usages = result.usage
    return Body(
        text=result.text,
        quick_replies=tuple(result.quick_replies),
        tool_calls=[{"id": c.id, "name": c.name, "arguments": c.arguments} for c in result.tool_calls],
        finish=result.finish,
        citations=citations(result),
        usage={
            "input": sum(item.input_tokens for item in usages),
            "output": sum(item.output_tokens for item in usages),
            "cached": sum(item.cached_tokens for item in usages),
        }
        if usages
        else {},
    )


def reply_of(run: Run, result: TurnResult, text: str) -> Reply:
    """The reply as an adapter renders it."""
    return Reply(
        text=text,
        quick_replies=tuple(QuickReply(label=choice, value=choice) for choice in result.quick_replies),
        in_reply_to=tuple(body.external_id for body in run.bodies if body.external_id),
    )


def citations(result: TurnResult) -> list[dict[str, Any]]:
    """What the answer could draw on and its reader may open, best first, numbered from 1."""
    if result.finish in ("error", "blocked"):
        return []
    found: list[dict[str, Any]] = []
    for item in result.recalled[:MOST_CITATIONS]:
        kind = "document" if item.kind == "passage" else "memory"
        entry = {"kind": kind, "title": _clipped(item.text, TITLE_CHARS), "text": _clipped(item.text, EXCERPT_CHARS)}
        found.append({**entry, "created": item.at.isoformat()} if item.at else entry)
    for source in result.sources[: MOST_CITATIONS - len(found)]:
        entry = {"kind": source.kind, "title": _clipped(source.title, TITLE_CHARS)}
        if source.text:
            entry["text"] = _clipped(source.text, EXCERPT_CHARS)
        if source.url.startswith(("https://", "http://")):
            entry["url"] = source.url
        found.append(entry)
    return [{"id": str(number), **entry} for number, entry in enumerate(found, 1)]


def _clipped(text: str, most: int) -> str:
    words = " ".join(text.split()) if most <= TITLE_CHARS else text.strip()
    return words if len(words) <= most else f"{words[: most - 1].rstrip()}…"


def trace(result: TurnResult) -> str:
    """Where the turn's time went, as JSON: steps, model calls, tools, what was recalled. Names, times, scores; no text.

    Times are milliseconds since the workflow started. What tools were asked and said is in `tool_texts`.
    """
    found: dict[str, Any] = {"steps": [_step(step) for step in result.steps], "finish": result.finish}
    if result.usage:
        found["calls"] = [_call(item, result.began) for item in result.usage]
    if result.recalled:
        found["recalled"] = [_recalled(item) for item in result.recalled[:MOST_TRACED]]
    if result.tool_runs:
        found["tools"] = [
            {"name": run.name[:120], "at": _since(run.began, result.began), "ms": round(run.lasted_ms, 2),
             "outcome": run.outcome}
            for run in result.tool_runs[:MOST_TRACED]
        ]  # fmt: skip
    if result.tool_calls:
        found["client_tools"] = [call.name[:120] for call in result.tool_calls[:MOST_TRACED]]
    return orjson.dumps(found, default=str).decode()


def tool_texts(result: TurnResult) -> bytes | None:
    """What the turn's tools were asked and what they said, in the trace's order; None where none ran.

    It is content: whoever stores it seals it (`tool_texts_cell`). Long texts are cut; the durable ledger of calls with
    effects keeps its own.
    """
    if not result.tool_runs:
        return None
    runs = result.tool_runs[:MOST_TRACED]
    return orjson.dumps([[run.arguments[:MOST_TOOL_CHARS], run.result[:MOST_TOOL_CHARS]] for run in runs])


def _step(step: StepTrace) -> dict[str, Any]:
    found: dict[str, Any] = {
        "node": step.node,
        "at": round(step.started_ms, 2),
        "ms": round(step.duration_ms, 2),
        "outcome": step.outcome,
    }
    if step.detail:
        found["detail"] = step.detail
    return found


def _call(item: Usage, began: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": item.kind,
        "provider": item.provider,
        "model": item.model,
        "input": item.input_tokens,
        "output": item.output_tokens,
    }
    if item.cached_tokens:
        found["cached"] = item.cached_tokens
    if item.cost:
        found["cost"] = item.cost
    if item.lasted_ms:
        found["ms"] = round(item.lasted_ms, 2)
    if item.began:
        found["at"] = _since(item.began, began)
    if item.first_ms is not None:
        found["first_ms"] = round(item.first_ms, 2)
    if item.fault:
        found["fault"] = item.fault
    if item.estimated:
        found["estimated"] = True
    return found


def _recalled(item: RecallItem) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": item.kind,
        "score": round(item.score, 3),
        "session": item.session_id.hex,
        "seqs": list(item.seqs[:MOST_TRACED]),
    }
    if item.source_id is not None:
        found["source"] = item.source_id.hex
    return found


def _since(moment: float, began: float) -> float:
    return round(max(moment - began, 0.0) * 1000, 2)


def spent(run: Run) -> list[usage.Spent]:
    """The turn's model calls for the usage ledger."""
    if run.result is None:
        return []
    return [
        usage.Spent(
            tenant_id=run.claimed.tenant_id,
            kind=item.kind,
            provider=item.provider,
            model=item.model,
            input_tokens=item.input_tokens,
            output_tokens=item.output_tokens,
            cached_tokens=item.cached_tokens,
            cost=Decimal(repr(item.cost)),
            estimated=item.estimated,
            session_id=run.claimed.session_id,
            turn_id=run.claimed.turn_id,
            agent_id=run.input.agent.id if run.input else None,
        )
        for item in run.result.usage
    ]


def pack_part(part: Part) -> bytes:
    """A part as it is sealed in its delivery."""
    return orjson.dumps({"kind": part.kind, "payload": part.payload, "text": part.text}, default=dict)
