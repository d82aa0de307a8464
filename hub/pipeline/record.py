"""What is written down of a turn's end: pure translations of its result."""

from decimal import Decimal
from typing import Any

import orjson

from agents.types import TurnResult
from channels_adapters.types import Part, QuickReply, Reply
from hub.pipeline.bodies import Body
from hub.pipeline.run import MOST_ATTEMPTS, Run
from tenants import usage

MOST_CITATIONS = 8
TITLE_CHARS = 80
EXCERPT_CHARS = 600


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
    """The workflow's steps with durations, names and scores; never text."""
    steps = [
        {
            "node": step.node,
            "at": round(step.started_ms, 2),
            "ms": round(step.duration_ms, 2),
            "outcome": step.outcome,
            **({"detail": dict(step.detail)} if step.detail else {}),
        }
        for step in result.steps
    ]
    recalled = [{"kind": item.kind, "score": round(item.score, 3), "seqs": list(item.seqs)} for item in result.recalled]
    found: dict[str, Any] = {"steps": steps, "finish": result.finish}
    if recalled:
        found["recalled"] = recalled
    if result.tool_calls:
        found["tools"] = [call.name for call in result.tool_calls]
    return orjson.dumps(found, default=str).decode()


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
