"""Small real parts for tests of turns: memory and ledger in lists, a runtime over the scripted model server."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from agents.calls import CallPolicy, ModelCalls
from agents.providers import providers
from agents.providers.base import Provider
from agents.providers.openai_compatible import Limits, OpenAICompatible
from agents.runtime import AgentRuntime
from agents.tools import BUILT_IN, Claim, Prior, Tool
from agents.types import AgentSpec, InputMessage, ModelRoute, Progress, Restarted, SessionState, TextDelta, TurnInput
from memory import buffer as buffers
from memory.types import Batch, Buffer, Exchange, Key, Line, Policy, Recall, RecallItem
from tenants.ids import uuid7
from tests.support.model_server import ModelServer

QUICK = Limits(first_byte=0.3, stall=0.3, total=5, chars=20_000)


@dataclass
class ListMemory:
    """Memory in a list: recalls each line that shares a word with the query."""

    lines: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    broken: bool = False

    def meet(self, key: Key) -> None:
        pass

    async def peek(self, key: Key) -> Buffer | None:
        return None

    async def rebuild(self, key: Key, policy: Policy) -> Buffer:
        return Buffer()

    async def recall(self, key: Key, query: str, policy: Policy, *, buffer: Buffer | None = None) -> Recall:
        self.asked.append(query)
        if self.broken:
            raise ConnectionError("memory is down")
        found = [line for line in self.lines if set(line.lower().split()) & set(query.lower().split())]
        return Recall(items=[RecallItem(kind="line", text=t, score=0.5, session_id=key.session_id) for t in found])

    async def append(self, conn: Any, exchanges: Sequence[Exchange]) -> None:
        self.lines += [line.text for exchange in exchanges for line in exchange.lines]

    def cache(self, exchange: Exchange, buffer: Buffer) -> None:
        pass

    def fold(self, buffer: Buffer, lines: Sequence[Line], policy: Policy, key: Key) -> tuple[Buffer, Batch | None]:
        return buffers.fold(buffer, lines, policy, key)


@dataclass
class ListLedger:
    """Intents and results in a dictionary that outlives the runtime, as a table does."""

    rows: dict[tuple[UUID, bytes, int], tuple[UUID, str | None]] = field(default_factory=dict)

    async def begin(self, claim: Claim) -> Prior:
        key = (claim.turn_id, claim.fingerprint, claim.ordinal)
        if key not in self.rows:
            self.rows[key] = (uuid7(), None)
            return Prior("new", self.rows[key][0])
        row_id, result = self.rows[key]
        return Prior("open", row_id) if result is None else Prior("done", row_id, result)

    async def finish(self, claim: Claim, prior: Prior, result: str) -> None:
        self.rows[(claim.turn_id, claim.fingerprint, claim.ordinal)] = (prior.row_id, result)


def runtime_over(
    wire: Any,
    *,
    memory: ListMemory | None = None,
    ledger: ListLedger | None = None,
    tools: dict[str, Tool] | None = None,
    policy: CallPolicy | None = None,
) -> AgentRuntime:
    """A runtime without a database."""
    known: dict[str, Provider] = {**providers(wire), "openai": OpenAICompatible(wire, QUICK)}
    calls = ModelCalls(known, policy=policy or CallPolicy(backoff=0.01, total=10))
    return AgentRuntime(
        pools=cast(Any, None),
        vault=cast(Any, None),
        memory=memory or ListMemory(),
        calls=calls,
        ledger=ledger or ListLedger(),
        tools={**BUILT_IN, **(tools or {})},
    )


def route(server: ModelServer, model: str = "scripted") -> ModelRoute:
    return ModelRoute(provider="openai", model=model, base_url=server.url, api_key="k")


def spec(*routes: ModelRoute, **changes: Any) -> AgentSpec:
    values: dict[str, Any] = {
        "id": uuid7(),
        "tenant_id": uuid7(),
        "name": "assistant",
        "version": 1,
        "prompt": "You are kind.",
        "routes": routes,
        "policy": Policy(),
    }
    return AgentSpec(**(values | changes))


def turn(agent: AgentSpec, *texts: str, state: SessionState | None = None, **changes: Any) -> TurnInput:
    state = state or SessionState(version=1, buffer=Buffer())
    first = state.buffer.last_seq + 1
    values: dict[str, Any] = {
        "key": Key(tenant_id=agent.tenant_id, session_id=uuid7(), subject_id=uuid7()),
        "turn_id": uuid7(),
        "agent": agent,
        "messages": [InputMessage(seq=first + n, text=text) for n, text in enumerate(texts)],
        "state": state,
        "reply_seq": first + len(texts),
    }
    return TurnInput(**(values | changes))


def shown(progress: Sequence[Progress]) -> str:
    """The text that a watcher holds in the end."""
    parts: list[str] = []
    for each in progress:
        if isinstance(each, Restarted):
            parts.clear()
        elif isinstance(each, TextDelta):
            parts.append(each.text)
    return "".join(parts)
