"""What an agent takes and gives: the pipeline's side of the contract.

A turn is `runtime.run(TurnInput, emit)`. `emit` is called synchronously for each thing a watcher may see, in order;
the returned `TurnResult` is what gets committed. Nothing is written by the agent behind the caller's back except
the durable steps of a running turn (tool intents and results).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from memory.types import Batch, Buffer, Key, Policy, RecallItem

Role = Literal["system", "user", "assistant", "tool"]
JSON = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """Where a model is asked. `provider` names a module of `agents.providers`."""

    provider: str
    model: str
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    temperature: float | None = None
    max_tokens: int | None = None
    input_cost: float = 0.0
    """Price per million input tokens, in the tenant's currency; likewise below."""
    output_cost: float = 0.0
    cached_cost: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """An agent row, compiled for use: immutable, cached per version, shared by all its turns."""

    id: UUID
    tenant_id: UUID
    name: str
    version: int
    prompt: str
    routes: Sequence[ModelRoute]
    """The first is asked; the others are the fall-back chain. Empty means `offline`."""
    policy: Policy
    workflow: str = "standard"
    tools: Sequence[str] = ()
    context_tokens: int = 16_000
    language: str = ""
    blocked_terms: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image for models that see: a data URL or an https URL that the provider may fetch."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model asks for a tool. `arguments` is the raw JSON text that the model wrote."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of a model conversation."""

    role: Role
    text: str = ""
    images: Sequence[Image] = ()
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSchema:
    """A tool as the model sees it; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class InputMessage:
    """One inbound message that this turn answers."""

    seq: int
    text: str
    speaker: str = ""
    images: Sequence[Image] = ()
    role: Literal["user", "tool"] = "user"
    tool_call_id: str = ""


@dataclass(slots=True)
class SessionState:
    """What L1 holds of a session. `version` must equal the session row's version or it counts for nothing."""

    version: int
    buffer: Buffer
    pending_tools: Sequence[ChatMessage] = ()
    """An assistant message with client tool calls and what followed, when the last turn ended in `tool_calls`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnInput:
    """Everything a turn needs. `history` set means a stateless call: the client's own messages, no memory at all."""

    key: Key
    turn_id: UUID
    agent: AgentSpec
    messages: Sequence[InputMessage]
    state: SessionState
    reply_seq: int | None = None
    """The seq reserved for the reply. Memory keys its lines by seq, so an answer needs one of its own."""
    attempt: int = 1
    history: Sequence[ChatMessage] | None = None
    client_tools: Sequence[ToolSchema] = ()
    tool_choice: object | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call, for the ledger. Wasted calls are booked as `retry`."""

    kind: Literal["reply", "retry", "summary", "embedding"]
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cost: float = 0.0
    estimated: bool = False
    """True when the server reported no usage and we counted."""
    began: float = 0.0
    """`perf_counter` when the call was sent; 0.0 where nobody measured."""
    first_ms: float | None = None
    """Milliseconds until its first text, None for a call without any."""
    lasted_ms: float = 0.0
    fault: str = ""
    """Why it failed (`ProviderError.kind`, or `cancelled`), empty for a call that answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun:
    """One tool call that the hub ran in a turn. Arguments and result are content: sealed where they are kept."""

    name: str
    arguments: str
    result: str
    began: float
    """`perf_counter` when it was started."""
    lasted_ms: float
    outcome: Literal["ok", "error", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTrace:
    """One node's run, for the turn's trace. `detail` holds names, counts and scores, never text."""

    node: str
    started_ms: float
    """Milliseconds since the turn began."""
    duration_ms: float
    outcome: Literal["ok", "error", "skipped", "resumed"] = "ok"
    detail: JSON = field(default_factory=dict)


# ---- what a watcher sees while the turn runs --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Status:
    """What the agent is doing: `thinking`, `recalling`, `tool` (with its name, and which call is where)."""

    state: Literal["thinking", "recalling", "tool"]
    detail: str = ""
    call: str = ""
    phase: Literal["", "started", "finished", "failed"] = ""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The text so far is void (a provider failed mid-stream and another takes over): start again from nothing."""


Progress = TextDelta | Status | Restarted
Emit = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that an answer could draw on and that a reader may open: an excerpt, an address, or both."""

    kind: Literal["memory", "document", "tool"]
    title: str
    text: str = ""
    url: str = ""


Finish = Literal["stop", "length", "tool_calls", "blocked", "error", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """The outcome of a turn. `finish == "error"` still carries a polite text; `error` is for operators only."""

    text: str
    finish: Finish
    usage: Sequence[Usage] = ()
    tool_calls: Sequence[ToolCall] = ()
    quick_replies: Sequence[str] = ()
    steps: Sequence[StepTrace] = ()
    recalled: Sequence[RecallItem] = ()
    sources: Sequence[Source] = ()
    """What tools gave that may be shown to the reader."""
    state: SessionState
    """The session's state after this turn, at `input.state.version + 1`."""
    batch: Batch | None = None
    model: str = ""
    error: str = ""
    began: float = 0.0
    """`perf_counter` when the workflow started, what the times of calls and tools are counted from."""
    tool_runs: Sequence[ToolRun] = ()
