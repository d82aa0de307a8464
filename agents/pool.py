"""What a process keeps warm: specs for seconds, compiled agents per version, session states (L1). All bounded."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from agents.compiled import CompiledAgent, compile_agent
from agents.errors import AgentUnfit
from agents.states import pack, unpack
from agents.tools.base import Tool
from agents.types import AgentSpec, ModelRoute, SessionState
from agents.workflow import Workflow

ENTRY_OVERHEAD = 260
"""Bytes that an entry costs besides its string: key, tuple, dictionary slot and list links, measured."""


class WarmStates:
    """L1: the last state of recent sessions. An entry of another version than the claimed one counts for nothing."""

    def __init__(
        self,
        *,
        most: int = 20_000,
        most_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._most_bytes, self._clock = most, most_bytes, clock
        self._entries: OrderedDict[bytes, tuple[int, bytes, float]] = OrderedDict()
        self.bytes = 0
        self.hits = self.misses = self.stale = self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, session_id: UUID, version: int) -> SessionState | None:
        """The state at exactly this version, or None."""
        key = session_id.bytes
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        if entry[0] != version:
            self.stale += 1
            self.drop(session_id)
            return None
        self.hits += 1
        self._entries[key] = (version, entry[1], self._clock())
        self._entries.move_to_end(key)
        return unpack(entry[1], version)

    def holds(self, session_id: UUID, version: int) -> bool:
        """Whether `get` would find the state; counts nothing."""
        entry = self._entries.get(session_id.bytes)
        return entry is not None and entry[0] == version

    def put(self, session_id: UUID, state: SessionState) -> None:
        """Keep a committed state; the least recently used ones leave."""
        self.drop(session_id)
        blob = bytes(memoryview(pack(state)))  # the encoder keeps its spare room; a copy has none
        self._entries[session_id.bytes] = (state.version, blob, self._clock())
        self.bytes += len(blob) + ENTRY_OVERHEAD
        while len(self._entries) > self._most or self.bytes > self._most_bytes:
            self._pop_oldest()
            self.evicted += 1

    def shrink(self, share: float) -> int:
        """Let go of the least recently used `share` (0 to 1) of the sessions; returns how many."""
        count = int(len(self._entries) * share)
        for _ in range(count):
            self._pop_oldest()
        return count

    def release(self, idle: float) -> int:
        """Let go of sessions that were not used for `idle` seconds; returns how many. They are not ended by this."""
        limit, count = self._clock() - idle, 0
        while self._entries and next(iter(self._entries.values()))[2] < limit:
            self._pop_oldest()
            count += 1
        return count

    def _pop_oldest(self) -> None:
        _, (_, old, _) = self._entries.popitem(last=False)
        self.bytes -= len(old) + ENTRY_OVERHEAD

    def drop(self, session_id: UUID) -> None:
        """Forget a session."""
        entry = self._entries.pop(session_id.bytes, None)
        if entry is not None:
            self.bytes -= len(entry[1]) + ENTRY_OVERHEAD


class AgentPool:
    """Compiled agents by id and version: checked when taken, replaced when unhealthy, the oldest leave."""

    def __init__(
        self,
        workflows: Mapping[str, Workflow],
        tools: Mapping[str, Tool],
        *,
        most: int = 2_000,
        longest: float = 3600.0,
        most_faults: int = 3,
    ) -> None:
        self._workflows, self._tools = workflows, tools
        self._most, self._longest, self._most_faults = most, longest, most_faults
        self._agents: OrderedDict[tuple[UUID, int], CompiledAgent] = OrderedDict()
        self.built = self.replaced = 0

    def __len__(self) -> int:
        return len(self._agents)

    def take(self, spec: AgentSpec) -> CompiledAgent:
        """The compiled agent of this version; AgentUnfit when the spec names what the hub does not have."""
        key = (spec.id, spec.version)
        agent = self._agents.get(key)
        if agent is not None:
            if self._healthy(agent, spec):
                self._agents.move_to_end(key)
                return agent
            self.replaced += 1
        try:
            agent = compile_agent(spec, self._workflows, self._tools)
        except KeyError as error:
            raise AgentUnfit(f"agent {spec.name!r} names an unknown workflow or tool: {error}") from error
        self.built += 1
        self._agents[key] = agent
        self._agents.move_to_end(key)
        if len(self._agents) > self._most:
            self._agents.popitem(last=False)
        return agent

    def warm(self, specs: Iterable[AgentSpec]) -> None:
        """Compile before the first turn asks."""
        for spec in specs:
            self.take(spec)

    def _healthy(self, agent: CompiledAgent, spec: AgentSpec) -> bool:
        same = agent.spec is spec or (agent.spec.tenant_id, agent.spec.routes) == (spec.tenant_id, spec.routes)
        return same and agent.faults < self._most_faults and time.monotonic() - agent.built < self._longest


@dataclass(slots=True)
class _Entry:
    spec: AgentSpec
    until: float


class SpecCache:
    """Agents' specs for some seconds, one read at a time per agent. `invalidate` makes a change count at once."""

    def __init__(
        self,
        read: Callable[[UUID, UUID], Awaitable[AgentSpec]],
        *,
        default_route: ModelRoute | None = None,
        seconds: float = 5.0,
        most: int = 10_000,
    ) -> None:
        self._read, self._default = read, default_route
        self._seconds, self._most = seconds, most
        self._entries: OrderedDict[tuple[UUID, UUID], _Entry] = OrderedDict()
        self._reading: dict[tuple[UUID, UUID], asyncio.Task[AgentSpec]] = {}

    async def get(self, tenant_id: UUID, agent_id: UUID) -> AgentSpec:
        """The spec; raises `AgentUnknown`."""
        key = (tenant_id, agent_id)
        entry = self._entries.get(key)
        if entry is not None and entry.until > time.monotonic():
            self._entries.move_to_end(key)
            return entry.spec
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(self._fetch(key))
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def invalidate(self, tenant_id: UUID, agent_id: UUID) -> None:
        """The agent has changed: the next turn reads it again, also when a read is under way."""
        self._entries.pop((tenant_id, agent_id), None)
        self._reading.pop((tenant_id, agent_id), None)

    def invalidate_tenant(self, tenant_id: UUID) -> None:
        """Something was changed that all agents of a tenant depend on."""
        for known, agent_id in [key for key in (*self._entries, *self._reading) if key[0] == tenant_id]:
            self.invalidate(known, agent_id)

    async def _fetch(self, key: tuple[UUID, UUID]) -> AgentSpec:
        spec = await self._read(*key)
        if not spec.routes and self._default is not None:
            spec = replace(spec, routes=(self._default,))
        known = self._entries.get(key)
        if known is not None and known.spec == spec:
            spec = known.spec
        if self._reading.get(key) is asyncio.current_task():
            self._entries[key] = _Entry(spec, time.monotonic() + self._seconds)
            self._entries.move_to_end(key)
            if len(self._entries) > self._most:
                self._entries.popitem(last=False)
        return spec

    def _forget(self, key: tuple[UUID, UUID], done: asyncio.Task[AgentSpec]) -> None:
        if self._reading.get(key) is done:
            del self._reading[key]
        if not done.cancelled():
            done.exception()  # whoever waited has it; a read that nobody waited for any more is no news
