"""What the audit trail says of an agent's or a connection's settings, changed in the console or by a command."""

from collections.abc import Mapping
from typing import Any, Final

from agents.models import Agent
from hub.models import Connection

HIDDEN: Final = "•••"
"""Stands for a secret: that it was changed is said, never from what to what."""


def agent_state(agent: Agent) -> dict[str, Any]:
    """An agent's settings as plain values; keys of models are not among them."""
    state: dict[str, Any] = {
        "name": agent.name,
        "prompt": agent.prompt,
        "language": agent.language,
        "context_tokens": agent.context_tokens,
        "tools": ", ".join(agent.tools),
        "blocked_terms": len(agent.blocked_terms or ()),
    }
    for number, route in enumerate(agent.routes or (), 1):
        behind = "" if number == 1 else f"_{number}"
        for name in ("provider", "model", "base_url", "temperature", "max_tokens"):
            if route.get(name) not in (None, ""):
                state[f"{name}{behind}"] = _address(route[name]) if name == "base_url" else route[name]
    return state | {f"memory_{name}": value for name, value in (agent.policy or {}).items()}


def connection_state(row: Connection) -> dict[str, Any]:
    """A connection's own options, without what its channel asks for."""
    return {
        "name": row.name,
        "agent": str(Agent.objects.filter(id=row.agent_id).values_list("name", flat=True).first() or ""),
        "status": str(row.status),
        "burst": str(row.burst),
        "debounce_ms": row.debounce_ms,
        "on_unknown": str(row.on_unknown),
        "delivery_window": row.delivery_window,
        "allowed_origins": " ".join(row.allowed_origins or ()),
    }


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs, with what was there before and what has gone."""
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def _address(url: Any) -> str:
    """Addresses sometimes carry a secret behind their question mark."""
    plain, asked, _rest = str(url).partition("?")
    return f"{plain}?…" if asked else plain
