"""What a committed turn keeps for its page: calls and tools with times in the open, their words sealed."""

import time

import orjson

from agents.types import SessionState, StepTrace, ToolRun, TurnResult, Usage
from hub.pipeline.bodies import tool_texts_cell
from hub.pipeline.record import MOST_TOOL_CHARS, tool_texts, trace
from memory.types import Buffer
from tenants.crypto import MasterKeys, Vault
from tests.support.world import World


async def test_a_turn_with_a_tool_keeps_its_trace(hub_runtime: World) -> None:
    world = hub_runtime
    world.rows("UPDATE agent SET tools = '[\"current_time\"]', version = version + 1")
    await world.say('[[tool name=current_time args={"timezone":"UTC"} times=1]]')
    await world.quiet()
    turn_id, found, sealed = world.rows("SELECT id, trace, tool_texts FROM turn")[0]
    assert [step["node"] for step in found["steps"]].count("core") == 2
    assert len(found["calls"]) == 2
    assert all(call["ms"] > 0 and call["model"] == "scripted" for call in found["calls"])
    assert [(tool["name"], tool["outcome"]) for tool in found["tools"]] == [("current_time", "ok")]
    assert "UTC" not in orjson.dumps(found).decode()
    from hub.env import env

    vault = Vault(MasterKeys(*env().master_keys()), world.runtime.pools)
    await vault.load(world.tenant_id)
    [[asked, said]] = orjson.loads(vault.open(tool_texts_cell(world.tenant_id, turn_id), bytes(sealed)))
    assert orjson.loads(asked) == {"timezone": "UTC"}
    assert said.endswith("UTC")


def result(**changes: object) -> TurnResult:
    state = SessionState(version=1, buffer=Buffer())
    return TurnResult(**{"text": "a", "finish": "stop", "state": state, "began": 1.0, **changes})  # type: ignore[arg-type]


def test_long_words_of_tools_are_cut() -> None:
    run = ToolRun(name="t", arguments="{}", result="x" * 9_000, began=1.2, lasted_ms=3.0, outcome="ok")
    [[asked, said]] = orjson.loads(tool_texts(result(tool_runs=[run])) or b"")
    assert (asked, len(said)) == ("{}", MOST_TOOL_CHARS)
    assert tool_texts(result()) is None


def test_a_trace_costs_microseconds() -> None:
    steps = [StepTrace(node="core", started_ms=1, duration_ms=2, detail={"model": "m"}) for _ in range(4)]
    call = Usage(kind="reply", provider="openai", model="m", input_tokens=9, output_tokens=9, began=1.5, lasted_ms=9)
    plain = result(steps=steps, usage=[call])
    best = min(_once(plain) for _ in range(200))
    assert best < 100e-6  # measured: 11 us; the bound leaves room for a busy machine


def _once(plain: TurnResult) -> float:
    began = time.perf_counter()
    trace(plain)
    return time.perf_counter() - began
