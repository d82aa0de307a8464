"""The tools that every hub has."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.tools.base import Arguments, ArgumentsInvalid, Tool, ToolContext
from agents.types import ToolSchema

NOTHING = "Nothing was found in memory."


async def _current_time(arguments: Arguments, context: ToolContext) -> str:
    del context
    name = str(arguments.get("timezone") or "UTC")
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ArgumentsInvalid(f"unknown time zone {name[:60]!r}") from error
    return datetime.now(UTC).astimezone(zone).strftime("%A %Y-%m-%d %H:%M:%S %Z")


async def _search_memory(arguments: Arguments, context: ToolContext) -> str:
    turn = context.turn
    if turn.history is not None:
        return "Nothing is remembered for this conversation."
    policy = replace(turn.agent.policy, recall_limit=12, recall_tokens=1200)
    found = await context.memory.recall(turn.key, str(arguments["query"])[:2000], policy)
    rows = [f"- {f'[{item.at:%Y-%m-%d}] ' if item.at else ''}{item.text}" for item in found.items]
    return "\n".join(rows) or NOTHING


_TOOLS = (
    Tool(
        schema=ToolSchema(
            name="current_time",
            description="The current date and time.",
            parameters={
                "type": "object",
                "properties": {
                    "timezone": {"type": "string", "description": "IANA name such as Asia/Shanghai; UTC if absent."}
                },
            },
        ),
        run=_current_time,
    ),
    Tool(
        schema=ToolSchema(
            name="search_memory",
            description="Search what was said in earlier conversations with this person.",
            parameters={
                "type": "object",
                "properties": {"query": {"type": "string", "description": "What to look for."}},
                "required": ["query"],
            },
        ),
        run=_search_memory,
        cites="memory",
    ),
)

BUILT_IN: Mapping[str, Tool] = {tool.schema.name: tool for tool in _TOOLS}
