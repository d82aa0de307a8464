"""What is written down of a turn's end: pure translations of its result."""

from decimal import Decimal
from typing import Any

import orjson

from agents.types import TurnResult
from channels_adapters.types import Part
from hub.pipeline.bodies import Body
from hub.pipeline.run import MOST_ATTEMPTS, Run
from tenants import usage


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
        usage={
            "input": sum(item.input_tokens for item in usages),
            "output": sum(item.output_tokens for item in usages),
            "cached": sum(item.cached_tokens for item in usages),
        }
        if usages
        else {},
    )


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
