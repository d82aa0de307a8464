"""The runtime on real PostgreSQL and Redis: a state outlives its process, a tool's effect its crash."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.core.exceptions import ValidationError

from agents.errors import AgentUnknown
from agents.models import Agent
from agents.providers.wire import Wire
from agents.runtime import AgentRuntime, make_runtime
from agents.store import PostgresLedger
from agents.tools import Claim
from agents.types import AgentSpec, InputMessage, ToolSchema, TurnInput, TurnResult
from memory.embeddings.base import NoEmbedder
from memory.memory import Memory
from memory.types import Key
from tenants.context import tenant_scope
from tenants.ids import uuid7
from tests.agents.conftest import World
from tests.support.model_server import ModelServer


def process(world: World, wire: Wire) -> AgentRuntime:
    """A fresh process: nothing warm."""
    memory = Memory(pools=world.pools, vault=world.vault, embedder=NoEmbedder(), redis=world.redis)
    return make_runtime(wire=wire, pools=world.pools, vault=world.vault, memory=memory)


async def made(world: World, server: ModelServer, **changes: Any) -> UUID:
    """An agent row with one sealed key."""
    await world.vault.load(world.tenant_id)

    def create() -> UUID:
        with tenant_scope(world.tenant_id):
            agent = Agent(tenant_id=world.tenant_id, name=f"a{uuid7()}", prompt="You are kind.", **changes)
            agent.routes = [{"provider": "openai", "model": "scripted", "base_url": server.url}]
            agent.seal_keys(world.vault, ["sk-canary-key"])
            agent.save()
            return agent.id

    return await asyncio.to_thread(create)


async def one_turn(
    world: World, runtime: AgentRuntime, spec: AgentSpec, key: Key, message: InputMessage, version: int, **more: Any
) -> TurnResult:
    """What the hub does with a turn: load, run, save in a transaction, and then the rest."""
    state = await runtime.load_state(key, version)
    turn = TurnInput(
        key=key,
        turn_id=uuid7(),
        agent=spec,
        messages=[message],
        state=state,
        reply_seq=message.seq + 1,
        **more,
    )
    result = await runtime.run(turn, lambda _: None)
    async with world.pools.app(key.tenant_id) as conn:
        await runtime.save(conn, [(turn, result)])
    runtime.after_commit([(turn, result)])
    return result


def new_key(world: World) -> Key:
    return Key(tenant_id=world.tenant_id, session_id=uuid7(), subject_id=uuid7())


async def test_state_outlives_its_process_with_redis_and_without(world: World, server: ModelServer, wire: Wire) -> None:
    first = process(world, wire)
    spec = await first.spec(world.tenant_id, await made(world, server))
    assert spec.routes[0].api_key == "sk-canary-key"
    key = new_key(world)
    for number in range(3):
        message = InputMessage(seq=2 * number + 1, text=f"hello number {number}")
        result = await one_turn(world, first, spec, key, message, number)
    assert (first.warm.hits, first.warm.misses) == (2, 0)
    said = [(line.seq, line.role, line.text) for line in result.state.buffer.lines]
    for flush in (False, True):
        if flush:
            await world.redis.flushall()
        cold = await process(world, wire).load_state(key, 3, spec.policy)
        assert [(line.seq, line.role, line.text) for line in cold.buffer.lines] == said
        assert cold.buffer.last_seq == 6
    assert server.calls[-1].authorization == "Bearer sk-canary-key"


async def test_a_stale_redis_is_not_believed(world: World, server: ModelServer, wire: Wire) -> None:
    runtime = process(world, wire)
    spec, key = await runtime.spec(world.tenant_id, await made(world, server)), new_key(world)
    await one_turn(world, runtime, spec, key, InputMessage(seq=1, text="hello"), 0)
    old = {name: await world.redis.get(name) for name in await world.redis.keys("*")}
    await one_turn(world, runtime, spec, key, InputMessage(seq=3, text="hello again"), 1)
    for name, value in old.items():
        if value is not None:
            await world.redis.set(name, value)
    cold = await process(world, wire).load_state(key, 2, spec.policy)
    assert cold.buffer.last_seq == 4


async def test_pending_client_tools_outlive_the_process(world: World, server: ModelServer, wire: Wire) -> None:
    weather = ToolSchema(name="weather", description="Weather.", parameters={"type": "object"})
    spec = await process(world, wire).spec(world.tenant_id, await made(world, server))
    key, asked = new_key(world), InputMessage(seq=1, text="[[tool name=weather]]")
    first = await one_turn(world, process(world, wire), spec, key, asked, 0, client_tools=[weather])
    answer = InputMessage(seq=2, text="sunny", role="tool", tool_call_id=first.tool_calls[0].id)
    second = await one_turn(world, process(world, wire), spec, key, answer, 1, client_tools=[weather])
    assert second.text == "The tool said: sunny"


async def test_saving_again_or_late_changes_nothing(world: World, server: ModelServer, wire: Wire) -> None:
    runtime = process(world, wire)
    spec, key = await runtime.spec(world.tenant_id, await made(world, server)), new_key(world)
    state = await runtime.load_state(key, 0)
    turn = TurnInput(
        key=key,
        turn_id=uuid7(),
        agent=spec,
        messages=[InputMessage(seq=1, text="hello")],
        state=state,
        reply_seq=2,
    )
    result = await runtime.run(turn, lambda _: None)
    late = replace(result, state=replace(result.state, version=0))
    for each in (result, result, late):
        async with world.pools.app(key.tenant_id) as conn:
            await runtime.save(conn, [(turn, each)])
    async with world.pools.app(key.tenant_id) as conn:
        rows = await (await conn.execute("SELECT version FROM checkpoint WHERE id = %s", (key.session_id,))).fetchall()
        lines = await (
            await conn.execute("SELECT count(*) FROM memory_line WHERE session_id = %s", (key.session_id,))
        ).fetchall()
    assert (rows, lines) == ([(1,)], [(2,)])


async def test_ledger_keeps_intents_and_results(world: World) -> None:
    ledger = PostgresLedger(world.pools, world.vault)
    claim = Claim(
        tenant_id=world.tenant_id, turn_id=uuid7(), name="pay", effect="once", arguments='{"a": 1, "b": 2}', ordinal=0
    )
    begun = await ledger.begin(claim)
    assert begun.state == "new"
    assert (await ledger.begin(replace(claim, arguments='{"b":2,"a":1}'))).state == "open"
    assert (await ledger.begin(replace(claim, ordinal=1))).state == "new"
    await ledger.finish(claim, begun, "paid 你好")
    again = await PostgresLedger(world.pools, world.vault).begin(claim)
    assert (again.state, again.result) == ("done", "paid 你好")


async def test_specs_versions_and_tenants(world: World, server: ModelServer, wire: Wire) -> None:
    runtime = process(world, wire)
    agent_id = await made(world, server, policy={"rounds": 3}, tools=["current_time"])
    spec = await runtime.spec(world.tenant_id, agent_id)
    assert (spec.version, spec.policy.rounds, spec.tools) == (1, 3, ("current_time",))

    def rename() -> None:
        with tenant_scope(world.tenant_id):
            agent = Agent.objects.get(id=agent_id)
            agent.prompt = "You are brief."
            agent.save(update_fields=["prompt"])

    await asyncio.to_thread(rename)
    assert (await runtime.spec(world.tenant_id, agent_id)).version == 1
    runtime.specs.invalidate(world.tenant_id, agent_id)
    assert (await runtime.spec(world.tenant_id, agent_id)).version == 2
    with pytest.raises(AgentUnknown):
        await runtime.spec(world.tenant_id, uuid7())


async def test_nothing_is_stored_in_the_clear(world: World, server: ModelServer, wire: Wire) -> None:
    runtime = process(world, wire)
    spec, key = await runtime.spec(world.tenant_id, await made(world, server)), new_key(world)
    weather = ToolSchema(name="weather", description="Weather.", parameters={"type": "object"})
    asked = InputMessage(seq=1, text='[[tool name=weather args={"x": "canary-text"}]]')
    await one_turn(world, runtime, spec, key, asked, 0, client_tools=[weather])
    with psycopg.connect(world.database.superuser_dsn) as conn:
        for table in ("agent", "checkpoint", "tool_call", "memory_line"):
            dump = str(conn.execute(f"SELECT * FROM {table}").fetchall())
            assert "canary" not in dump
            assert b"canary".hex() not in dump


def test_wrong_settings_are_refused_in_the_form() -> None:
    for wrong in ({"policy": {"x": 1}}, {"tools": ["nothing"]}, {"routes": [{"model": "m"}]}):
        with pytest.raises(ValidationError):
            Agent(name="a", **wrong).clean()
