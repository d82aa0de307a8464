"""The provider contract: one model call with streaming text, classified errors, counted tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agents.types import ChatMessage, ModelRoute, ToolCall, ToolSchema
from memory.types import Line, RecallItem

OnText = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What is known for this turn, for a provider that answers without a model."""

    query: str
    language: str
    recalled: Sequence[RecallItem] = ()
    lines: Sequence[Line] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """Tools as a model sees them, encoded once per agent version. `wire` is the JSON array of OpenAI's shape."""

    schemas: Sequence[ToolSchema] = ()
    wire: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One model call, whatever the route."""

    messages: Sequence[ChatMessage]
    grounds: Grounds
    tools: Toolset = Toolset()
    tool_choice: object | None = None
    max_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model answered. Tokens are the server's count, or ours when `estimated`."""

    text: str
    finish: Literal["stop", "length", "tool_calls", "content"]
    tool_calls: Sequence[ToolCall] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False


class Provider(Protocol):
    """Stream one chat completion. `on_text` gets each piece as it arrives; failure raises `ProviderError`.

    Cancelling the awaiting task closes the model's connection at once.
    """

    async def chat(self, route: ModelRoute, request: ChatRequest, on_text: OnText) -> Completion:
        """One completion by this route."""
        ...
