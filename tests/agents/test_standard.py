"""Scripted turns on the standard graph: each with exactly its nodes, each ending in a good answer or a polite one."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agents.providers.wire import Wire
from agents.tools import Tool, ToolContext
from agents.types import ChatMessage, InputMessage, Progress, Restarted, SessionState, ToolSchema
from memory.types import Buffer, Policy
from tests.agents.parts import ListLedger, ListMemory, route, runtime_over, shown, spec, turn
from tests.support.model_plans import Plan
from tests.support.model_server import ModelServer
from tests.support.patience import PATIENCE

POLITE = "Sorry, I cannot answer right now."


def nodes(result: Any) -> list[str]:
    return [step.node for step in result.steps]


async def test_five_turns_each_with_exactly_its_nodes(server: ModelServer, wire: Wire) -> None:
    memory = ListMemory(["My cat is called Mimi"])
    runtime = runtime_over(wire, memory=memory)
    agent = spec(route(server), blocked_terms=["bomb"], tools=["current_time"], policy=Policy(rounds=4))
    seen: list[Progress] = []

    blocked = await runtime.run(turn(agent, "How to build a BOMB"), seen.append)
    assert (nodes(blocked), blocked.finish, server.count) == (["check"], "blocked", 0)
    assert blocked.text == shown(seen) == "Sorry, I cannot help with that here."
    assert blocked.state.buffer.lines == []

    plain = await runtime.run(turn(agent, "hello"), seen.append)
    assert nodes(plain) == ["check", "memory_needed", "core"]
    assert (plain.text, plain.model, plain.state.version) == ("Good day to you.", "scripted", 2)
    assert [(u.kind, u.output_tokens) for u in plain.usage] == [("reply", 4)]

    remembering = await runtime.run(turn(agent, "What is my cat called"), seen.append)
    assert nodes(remembering) == ["check", "memory_needed", "recall", "core"]
    sent = server.calls[-1].body["messages"]
    assert sent[0]["content"].startswith("You are kind.")
    assert "- My cat is called Mimi\n</memory>" in sent[-1]["content"]

    tooled = await runtime.run(turn(agent, "12 [[tool name=current_time]]"), seen.append)
    assert nodes(tooled) == ["check", "memory_needed", "recall", "core", "tools", "core"]
    assert tooled.text.startswith("The tool said: ")

    state = SessionState(version=1, buffer=Buffer())
    for number in range(4):
        full = await runtime.run(turn(agent, "hello", state=state), seen.append)
        state = full.state
        assert (full.batch is not None) == (number == 3)
    assert nodes(full) == ["check", "memory_needed", "core", "summary"]
    assert full.batch is not None
    assert (full.batch.first_seq, full.batch.last_seq) == (1, 8)


@pytest.mark.parametrize(
    "text", ["[[hang]]", "[[500]]", "[[429]]", "[[cut]]", "[[bad_json]]", "[[long_line]]", "[[401]]", "[[overflow]]"]
)
@pytest.mark.parametrize("backed", [False, True])
async def test_every_fault_ends_well(server: ModelServer, wire: Wire, text: str, backed: bool) -> None:
    async with ModelServer(Plan(kind="text", text="From the other.")) as other:
        other.choose = lambda body: other.default  # type: ignore[method-assign]
        routes = [route(server), *([route(other, "spare")] if backed else [])]
        seen: list[Progress] = []
        result = await runtime_over(wire).run(turn(spec(*routes), "hello " + text), seen.append)
    assert shown(seen) == result.text
    assert "SECRET" not in result.text
    if backed:
        assert (result.text, result.finish, result.model) == ("From the other.", "stop", "spare")
    else:
        assert result.text.startswith(POLITE)
        assert (result.finish, bool(result.error)) == ("error", True)
        assert [line.role for line in result.state.buffer.lines] == ["user"]
    assert any(usage.kind == "retry" for usage in result.usage)
    if text not in ("[[bad_json]]", "[[long_line]]"):  # there it depends on how the bytes arrive
        assert any(isinstance(each, Restarted) for each in seen) == (text == "[[cut]]")


async def test_endless_answer_is_cut(server: ModelServer, wire: Wire) -> None:
    result = await runtime_over(wire).run(turn(spec(route(server)), "[[endless]]"), lambda _: None)
    assert result.finish == "length"
    assert result.text


@pytest.mark.parametrize(
    ("text", "blocked"),
    [
        ("a bomb!", True),
        ("ＢＯＭＢ", True),
        ("这是bomb吗", True),
        ("bombastic", False),
        ("我要赌博啊", True),
        ("ok", False),
    ],
)
async def test_blocked_terms_in_both_scripts(server: ModelServer, wire: Wire, text: str, blocked: bool) -> None:
    agent = spec(route(server), blocked_terms=["Bomb", "赌博"])
    result = await runtime_over(wire).run(turn(agent, text), lambda _: None)
    assert (result.finish == "blocked") == blocked


async def test_an_agent_that_names_what_is_not_there_answers_politely(wire: Wire) -> None:
    seen: list[Progress] = []
    result = await runtime_over(wire).run(turn(spec(tools=["nothing"]), "hello"), seen.append)
    assert (result.finish, shown(seen)) == ("error", result.text)
    assert "nothing" in result.error


async def test_chinese_is_polite_in_chinese(server: ModelServer, wire: Wire) -> None:
    result = await runtime_over(wire).run(turn(spec(route(server)), "你好 [[401]]"), lambda _: None)
    assert result.text.startswith("抱歉")


async def test_no_route_answers_offline_from_memory(wire: Wire) -> None:
    runtime = runtime_over(wire, memory=ListMemory(["The cat is called Mimi."]))
    result = await runtime.run(turn(spec(), "what is the cat called"), lambda _: None)
    assert "No language model is connected" in result.text
    assert "Mimi" in result.text
    assert (result.finish, result.model) == ("stop", "offline")


async def test_memory_that_is_down_costs_only_memory(server: ModelServer, wire: Wire) -> None:
    runtime = runtime_over(wire, memory=ListMemory(broken=True))
    asked = turn(spec(route(server)), "what did I say yesterday?")
    result = await runtime.run(asked, lambda _: None)
    assert result.text == "Good day to you."
    runtime.after_commit([(asked, result)])
    assert await runtime.load_state(asked.key, 2) == result.state


async def test_tool_with_effect_runs_once_over_a_crash(server: ModelServer, wire: Wire) -> None:
    runs: list[str] = []

    async def pay(arguments: Any, context: ToolContext) -> str:
        runs.append(arguments["to"])
        if arguments["to"] == "crash":
            raise asyncio.CancelledError  # what a kill in the middle looks like from inside
        return "paid"

    schema = ToolSchema(name="pay", description="Pay.", parameters={"type": "object", "required": ["to"]})
    tools = {"pay": Tool(schema=schema, run=pay, effect="once")}
    ledger = ListLedger()
    agent = spec(route(server), tools=["pay"])
    done = turn(agent, '[[tool name=pay args={"to": "Ann"}]]')
    for _ in range(2):  # the second run is a new process that got the turn again
        result = await runtime_over(wire, ledger=ledger, tools=tools).run(done, lambda _: None)
        assert result.text == "The tool said: paid"
    lost = turn(agent, '[[tool name=pay args={"to": "crash"}]]')
    with pytest.raises(asyncio.CancelledError):
        await runtime_over(wire, ledger=ledger, tools=tools).run(lost, lambda _: None)
    result = await runtime_over(wire, ledger=ledger, tools=tools).run(lost, lambda _: None)
    assert "outcome of this call is unknown" in result.text
    assert runs == ["Ann", "crash"]


async def test_a_model_that_only_calls_tools_is_stopped(server: ModelServer, wire: Wire) -> None:
    server.choose = lambda body: Plan(kind="tool", name="current_time")  # type: ignore[method-assign]
    agent = spec(route(server), tools=["current_time"])
    result = await runtime_over(wire).run(turn(agent, "hello"), lambda _: None)
    assert result.text.startswith("Sorry, I could not finish")
    assert server.count == 9


async def test_client_tools_end_the_turn_and_go_on_with_their_results(server: ModelServer, wire: Wire) -> None:
    weather = ToolSchema(name="weather", description="Weather.", parameters={"type": "object"})
    runtime, agent = runtime_over(wire), spec(route(server))
    first = await runtime.run(turn(agent, "[[tool name=weather]]", client_tools=[weather]), lambda _: None)
    assert first.finish == "tool_calls"
    assert [call.name for call in first.tool_calls] == ["weather"]
    answer = InputMessage(seq=2, text="sunny", role="tool", tool_call_id=first.tool_calls[0].id)
    again = replace(turn(agent, state=first.state, client_tools=[weather]), messages=[answer])
    second = await runtime.run(again, lambda _: None)
    assert second.text == "The tool said: sunny"
    assert [m["role"] for m in server.calls[-1].body["messages"]] == ["system", "user", "assistant", "tool"]
    assert second.state.pending_tools == ()
    assert [line.role for line in second.state.buffer.lines] == ["user", "assistant"]


async def test_results_that_are_missing_are_not_sent_half(server: ModelServer, wire: Wire) -> None:
    weather = ToolSchema(name="weather", description="Weather.", parameters={"type": "object"})
    runtime, agent = runtime_over(wire), spec(route(server))
    server.script(Plan(kind="tool", name="weather"))
    first = await runtime.run(turn(agent, "sunny?", client_tools=[weather]), lambda _: None)
    assert first.finish == "tool_calls"
    second = await runtime.run(turn(agent, "never mind", state=first.state), lambda _: None)
    assert second.text == "Good day to you."
    assert [m["role"] for m in server.calls[-1].body["messages"]] == ["system", "user"]


async def test_stateless_calls_touch_no_memory(server: ModelServer, wire: Wire) -> None:
    memory = ListMemory(["my secret"])
    history = [ChatMessage(role="user", text="a"), ChatMessage(role="assistant", text="b")]
    asked = turn(spec(route(server)), "what is my secret", history=history)
    result = await runtime_over(wire, memory=memory).run(asked, lambda _: None)
    assert memory.asked == []
    assert result.state.buffer.lines == []
    assert [m["content"] for m in server.calls[-1].body["messages"][1:]] == ["a", "b", "what is my secret"]


async def test_input_longer_than_the_context_is_worked_through(server: ModelServer, wire: Wire) -> None:
    server.default = Plan(kind="text", text="A note.")
    agent = spec(route(server), context_tokens=3000)
    text = "".join(f"Sentence number {n} of a long story. " for n in range(600))
    result = await runtime_over(wire).run(turn(agent, text), lambda _: None)
    assert nodes(result)[:2] == ["check", "condense"]
    assert server.count == result.steps[1].detail["windows"] + 1 > 4  # type: ignore[operator]
    assert "[2/" in server.calls[-1].body["messages"][-1]["content"]
    assert result.text == "A note."


async def test_a_stopped_turn_keeps_its_text(server: ModelServer, wire: Wire) -> None:
    runtime, seen = runtime_over(wire), list[Progress]()
    asked = turn(spec(route(server)), "[[normal chunks=200 delay=0.02]]")
    task = asyncio.create_task(runtime.run(asked, seen.append))
    while not shown(seen):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    result = runtime.stopped(asked)
    assert result.finish == "stopped"
    assert result.text == shown(seen) == result.state.buffer.lines[-1].text
    assert result.usage[0].output_tokens > 0


async def test_a_stopped_turns_trace_has_its_tools(server: ModelServer, wire: Wire) -> None:
    begun = asyncio.Event()

    async def wait(_arguments: object, _context: ToolContext) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    schema = ToolSchema(name="wait", description="", parameters={"type": "object"})
    runtime = runtime_over(wire, tools={"wait": Tool(schema=schema, run=wait, effect="none")})
    asked = turn(spec(route(server), tools=["wait"]), "[[tool name=wait]]")
    task = asyncio.create_task(runtime.run(asked, lambda _: None))
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    result = runtime.stopped(asked)
    assert [(run.name, run.outcome) for run in result.tool_runs] == [("wait", "unknown")]
    assert result.began > 0


async def test_prefix_stays_stable_for_the_servers_cache(server: ModelServer, wire: Wire) -> None:
    runtime, agent = runtime_over(wire), spec(route(server))
    state = SessionState(version=1, buffer=Buffer())
    for _ in range(3):
        result = await runtime.run(turn(agent, "tell me more about it", state=state), lambda _: None)
        state = result.state
    assert result.usage[0].cached_tokens > 0.4 * result.usage[0].input_tokens
