"""What a process keeps warm: specs for seconds, compiled agents per version, session states (L1). All bounded."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from uuid import UUID

from agents.compiled import CompiledAgent, compile_agent
from agents.errors import AgentUnfit
from agents.states import pack, unpack
from agents.tools.base import Tool
from agents.types import AgentSpec, ModelRoute, SessionState
from agents.workflow import Workflow
from tenants.remembered import Remembered

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
        self.remembered = Remembered[tuple[UUID, UUID], AgentSpec](seconds=seconds, most=most)

    async def get(self, tenant_id: UUID, agent_id: UUID) -> AgentSpec:
        """The spec; raises `AgentUnknown`."""
        return await self.remembered.get((tenant_id, agent_id), partial(self._fetch, tenant_id, agent_id))

    def invalidate(self, tenant_id: UUID, agent_id: UUID) -> None:
        """The agent has changed: the next turn reads it again, also when a read is under way."""
        self.remembered.forget((tenant_id, agent_id))

    def invalidate_tenant(self, tenant_id: UUID) -> None:
        """Something was changed that all agents of a tenant depend on."""
        self.remembered.forget_where(lambda key, _: key[0] == tenant_id)

    async def _fetch(self, tenant_id: UUID, agent_id: UUID) -> AgentSpec:
        spec = await self._read(tenant_id, agent_id)
        return replace(spec, routes=(self._default,)) if not spec.routes and self._default is not None else spec
