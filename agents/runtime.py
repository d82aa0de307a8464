"""The agents' side of the contract with the hub: states in, turns run, results saved. One runtime per process."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from agents import standard, store
from agents.calls import ModelCalls
from agents.compiled import turn_language
from agents.errors import AgentUnfit, StepFailed
from agents.journal import Journal, Keeping
from agents.phrases import phrase
from agents.pool import AgentPool, SpecCache, WarmStates
from agents.ports import Memory
from agents.prompt import input_text
from agents.providers import providers
from agents.providers.wire import Wire
from agents.tools import BUILT_IN, Tool, ToolRunner
from agents.tools.ledger import Ledger
from agents.types import (
    AgentSpec,
    ChatMessage,
    Emit,
    ModelRoute,
    Progress,
    Restarted,
    SessionState,
    StepTrace,
    TextDelta,
    TurnInput,
    TurnResult,
    Usage,
)
from agents.workflow import Workflow
from memory.types import Buffer, Exchange, Key, Policy
from tenants.crypto import Vault
from tenants.db.pools import Pools

_log = logging.getLogger(__name__)
MOST_STOPPED = 1024
Results = Sequence[tuple[TurnInput, TurnResult]]


@dataclass(slots=True)
class _Screen:
    """What watchers hold of the answer. In the end it must be the stored text, whatever happened on the way."""

    emit: Emit
    parts: list[str] = field(default_factory=list)

    def show(self, progress: Progress) -> None:
        if isinstance(progress, TextDelta):
            self.parts.append(progress.text)
        elif isinstance(progress, Restarted):
            self.parts.clear()
        self.emit(progress)

    def settle(self, text: str) -> None:
        shown = "".join(self.parts)
        if shown == text:
            return
        if not text.startswith(shown):
            self.show(Restarted())
            shown = ""
        self.show(TextDelta(text[len(shown) :]))


@dataclass(slots=True)
class _Partial:
    text: str
    usage: Sequence[Usage]
    steps: Sequence[StepTrace]
    traced: Mapping[str, Any] = field(default_factory=dict)
    """What else of the state the turn's trace shows."""


_TRACED = ("began", "recalled", "tool_runs")


class AgentRuntime:
    """Runs turns. Holds caches only: everything in it can be lost at any time."""

    def __init__(
        self,
        *,
        pools: Pools,
        vault: Vault,
        memory: Memory,
        calls: ModelCalls,
        default_route: ModelRoute | None = None,
        tools: Mapping[str, Tool] = BUILT_IN,
        workflows: Mapping[str, Workflow] | None = None,
        ledger: Ledger | None = None,
        warm: WarmStates | None = None,
    ) -> None:
        self._pools, self._vault, self._memory = pools, vault, memory
        self.calls = calls
        self._tools = ToolRunner(tools, ledger or store.PostgresLedger(pools, vault))
        self.agents = AgentPool(workflows or {"standard": standard.workflow()}, tools)
        self.specs = SpecCache(self._read_spec, default_route=default_route)
        self.warm = warm if warm is not None else WarmStates()
        self._stopped: OrderedDict[UUID, _Partial] = OrderedDict()

    async def spec(self, tenant_id: UUID, agent_id: UUID) -> AgentSpec:
        """The agent's spec, at most five seconds old; raises `AgentUnknown`."""
        return await self.specs.get(tenant_id, agent_id)

    def meet(self, key: Key) -> None:
        """The turn that comes is the first of a subject whom nobody has met: there is nothing to recall."""
        self._memory.meet(key)

    async def load_state(self, key: Key, version: int, policy: Policy | None = None) -> SessionState:
        """The session's state at `version`, the one that the claim returned.

        Warm: no I/O. Cold: the checkpoint from PostgreSQL and the buffer from Redis or PostgreSQL. A session at
        version 0 has had no turn, so nothing is asked.
        """
        if not version:
            return SessionState(version=0, buffer=Buffer())
        state = self.warm.get(key.session_id, version)
        if state is not None:
            return state
        await self._vault.load(key.tenant_id)
        (last_seq, pending), buffer = await asyncio.gather(
            store.read_checkpoint(self._pools, self._vault, key), self._memory.peek(key)
        )
        if buffer is None or buffer.last_seq < last_seq:  # a write that was lost must not shorten the conversation
            buffer = await self._memory.rebuild(key, policy or Policy())
        return SessionState(version=version, buffer=buffer, pending_tools=pending)

    async def run(self, turn: TurnInput, emit: Emit, journal: Journal | None = None) -> TurnResult:
        """Run one turn. Never raises for what a model, a tool or a node does; cancelling it stops it.

        What was emitted since the last `Restarted` is exactly the result's text. After a cancel, `stopped` gives the
        result with the text so far. With a journal, a later attempt goes on behind the last finished round; what the
        journal raises ends the run.
        """
        screen, steps = _Screen(emit), list[StepTrace]()
        usage: list[Usage] = []
        state: dict[str, Any] = {"began": perf_counter()}
        try:
            await self._walk(turn, screen, state, usage, steps, journal)
        except (StepFailed, AgentUnfit) as failure:
            _log.exception("turn_failed", extra={"turn_id": str(turn.turn_id), "agent_id": str(turn.agent.id)})
            language = turn_language(turn, input_text(turn.messages))
            state |= {"finish": "error", "answer": phrase("failed", language), "folded": None}
            state["error"] = f"{failure}: {failure.__cause__!r}"[:1000]
        except asyncio.CancelledError:
            traced = {name: state[name] for name in _TRACED if name in state}
            self._keep_partial(turn, _Partial("".join(screen.parts), usage, steps, traced))
            raise
        screen.settle(state["answer"])
        return self._result(turn, state, usage, steps)

    async def _walk(
        self,
        turn: TurnInput,
        screen: _Screen,
        state: dict[str, Any],
        usage: list[Usage],
        steps: list[StepTrace],
        journal: Journal | None,
    ) -> None:
        agent = self.agents.take(turn.agent)
        services = standard.Services(turn, agent, screen.show, self._memory, self.calls, self._tools, usage)
        keeping = None if journal is None else Keeping(journal, turn.agent.workflow, services, steps)
        resume = None
        if keeping is not None and turn.attempt > 1 and (resume := await keeping.resume(state)) is not None:
            state["text"] = input_text(turn.messages)
            if state.get("said"):
                screen.show(TextDelta(state["said"]))
        try:
            await agent.workflow.run(state, services, checkpoint=keeping, resume=resume, trace=steps)
        except StepFailed:
            agent.faults += 1
            raise
        except asyncio.CancelledError:  # calls that ended before it was stopped in the midst of a round
            state["tool_runs"] = [*state.get("tool_runs", ()), *services.asked.runs]
            raise
        agent.faults = 0

    def stopped(self, turn: TurnInput) -> TurnResult:
        """The result of a turn whose `run` was cancelled: the text so far counts as the answer."""
        partial = self._stopped.pop(turn.turn_id, None) or _Partial("", (), ())
        state = {**partial.traced, "finish": "stopped", "answer": partial.text}
        return self._result(turn, state, partial.usage, partial.steps)

    async def save(self, conn: AsyncConnection[Any], results: Results) -> None:
        """Write checkpoints and memory of finished turns, in the caller's transaction of the one tenant they have."""
        kept = [(turn, result) for turn, result in results if turn.history is None]
        if not kept:
            return
        await self._vault.load(kept[0][0].key.tenant_id)
        await self._memory.append(conn, [exchange_of(turn, result) for turn, result in kept])
        await store.save_checkpoints(conn, self._vault, [(turn.key, result.state) for turn, result in kept])

    def after_commit(self, results: Results) -> None:
        """Warm L1, and put the buffers into Redis behind the reply."""
        for turn, result in results:
            if turn.history is None:
                self.warm.put(turn.key.session_id, result.state)
                self._memory.cache(exchange_of(turn, result), result.state.buffer)

    async def _read_spec(self, tenant_id: UUID, agent_id: UUID) -> AgentSpec:
        await self._vault.load(tenant_id)
        async with self._pools.app(tenant_id) as conn:
            return await store.read_spec(conn, self._vault, tenant_id, agent_id)

    def _keep_partial(self, turn: TurnInput, partial: _Partial) -> None:
        self._stopped[turn.turn_id] = partial
        if len(self._stopped) > MOST_STOPPED:
            self._stopped.popitem(last=False)

    def _result(
        self, turn: TurnInput, state: Mapping[str, Any], usage: Sequence[Usage], steps: Sequence[StepTrace]
    ) -> TurnResult:
        finish, calls = state["finish"], tuple(state.get("client_calls", ()))
        folded = state.get("folded")
        if folded is None:
            lines = standard.remembered(turn, finish, state["answer"])
            folded = self._memory.fold(turn.state.buffer, lines, turn.agent.policy, turn.key)
        waiting = finish == "tool_calls"
        after = SessionState(
            version=turn.state.version + 1,
            buffer=folded[0],
            pending_tools=_pending(state["messages"]) if waiting and turn.history is None else (),
        )
        return TurnResult(
            text=state["answer"],
            finish=finish,
            usage=tuple(usage),
            tool_calls=calls if waiting else (),
            steps=tuple(steps),
            recalled=tuple(state.get("recalled", ())),
            sources=tuple(state.get("sources", ())),
            quick_replies=tuple(state.get("quick_replies", ())),
            state=after,
            batch=folded[1],
            model=state.get("model", ""),
            error=state.get("error", ""),
            began=state.get("began", 0.0),
            tool_runs=tuple(state.get("tool_runs", ())),
        )


def exchange_of(turn: TurnInput, result: TurnResult) -> Exchange:
    """What a committed turn adds to memory."""
    lines = standard.remembered(turn, result.finish, result.text)
    return Exchange(key=turn.key, lines=lines, batch=result.batch)


def _pending(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    """What follows the last user message: the calls that wait for the client, and earlier ones with their results."""
    last = max((index for index, message in enumerate(messages) if message.role in ("user", "system")), default=-1)
    return tuple(messages[last + 1 :])


def make_runtime(
    *,
    wire: Wire,
    pools: Pools,
    vault: Vault,
    memory: Memory,
    default_route: ModelRoute | None = None,
    warm: WarmStates | None = None,
) -> AgentRuntime:
    """The runtime over the hub's connections to models."""
    calls = ModelCalls(providers(wire))
    return AgentRuntime(pools=pools, vault=vault, memory=memory, calls=calls, default_route=default_route, warm=warm)
