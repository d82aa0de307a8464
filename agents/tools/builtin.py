"""The tools that every hub has."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.tools.base import Arguments, ArgumentsInvalid, Tool, ToolContext, read_arguments
from agents.types import ToolCall, ToolSchema

MOST_REPLIES = 6
LONGEST_REPLY = 60
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


async def _offer_replies(arguments: Arguments, context: ToolContext) -> str:
    del context
    return f"{len(choices(arguments))} replies will be offered under your message. Write it now; do not list them."


def choices(arguments: Arguments) -> tuple[str, ...]:
    """What is offered to be tapped. Raises ArgumentsInvalid."""
    found = [" ".join(item.split()) for item in arguments["replies"] if isinstance(item, str)]
    if len(found) != len(arguments["replies"]) or not 1 <= len(found) <= MOST_REPLIES:
        raise ArgumentsInvalid(f"replies must be 1 to {MOST_REPLIES} texts")
    if not all(0 < len(item) <= LONGEST_REPLY for item in found):
        raise ArgumentsInvalid(f"a reply has 1 to {LONGEST_REPLY} characters")
    return tuple(dict.fromkeys(found))


def offered(calls: Sequence[ToolCall]) -> tuple[str, ...]:
    """The replies that the last fitting call of these offers."""
    for call in reversed(calls):
        if call.name == OFFER.schema.name:
            try:
                return choices(read_arguments(OFFER.schema, call.arguments))
            except ArgumentsInvalid:
                continue
    return ()


OFFER = Tool(
    schema=ToolSchema(
        name="offer_replies",
        description="Offer the person a few short answers to tap under the message that you write next.",
        parameters={
            "type": "object",
            "properties": {
                "replies": {"type": "array", "items": {"type": "string"}, "description": "1 to 6 short texts."}
            },
            "required": ["replies"],
        },
    ),
    run=_offer_replies,
)
_TOOLS = (
    OFFER,
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
