"""A turn's journal: what is kept when, and that a later attempt goes on with all of it."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agents import standard
from agents.providers.wire import Wire
from agents.runtime import AgentRuntime
from agents.workflow import load
from tests.agents.parts import ListMemory, route, runtime_over, shown, spec, turn
from tests.support.model_plans import Plan
from tests.support.model_server import ModelServer


@dataclass
class ListJournal:
    """Keeps entries in a list; refuses the one that it is told to."""

    entries: list[bytes] = field(default_factory=list)
    refuse: int = 0

    async def load(self) -> bytes | None:
        return self.entries[-1] if self.entries else None

    async def keep(self, entry: bytes) -> None:
        if len(self.entries) + 1 == self.refuse:
            raise ConnectionError("the database is away")
        self.entries.append(entry)


async def test_two_rounds_keep_two_entries_and_resume_behind_them(server: ModelServer, wire: Wire) -> None:
    memory = ListMemory(lines=["I live in Ghent"])
    agent = spec(route(server), tools=["current_time"])
    first = turn(agent, "where do I live, and what time is it? I live")
    journal = ListJournal()
    server.script(Plan(kind="tool", name="current_time"), Plan(kind="hang"))
    running = asyncio.create_task(runtime_over(wire, memory=memory).run(first, lambda _: None, journal))
    while server.count < 2:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(journal.entries) == 2, "one after the model's round, one after the tools'"
    assert b"You are kind" not in journal.entries[-1], "the head of the conversation is built again"

    seen: list[Any] = []
    server.script(Plan(kind="text", text="In Ghent."))
    result = await runtime_over(wire, memory=memory).run(replace(first, attempt=2), seen.append, journal)
    before, after = (call.body["messages"] for call in list(server.calls)[1:])
    assert before == after, "the second round is asked as before"
    assert (result.text, shown(seen)) == ("In Ghent.", "In Ghent.")
    assert [usage.kind for usage in result.usage] == ["reply", "reply"]
    assert [item.text for item in result.recalled] == ["I live in Ghent"]
    assert len(journal.entries) == 2, "the last round is followed by the commit alone"


async def test_a_finished_branch_that_asked_a_model_is_kept(server: ModelServer, wire: Wire) -> None:
    hold = asyncio.Event()

    async def asks(state: Any, services: Any) -> Any:
        return {"asked": await standard._note(services, state, "a part")}

    async def waits(_: Any, __: Any) -> Any:
        await hold.wait()
        return {"waited": True}

    async def joins(state: Any, _: Any) -> Any:
        return {"answer": state["asked"], "finish": "stop"}

    data = {
        "name": "fork",
        "start": "check",
        "nodes": {"check": "check", "asks": "asks", "waits": "waits", "joins": "joins"},
        "parallel": {"both": {"branches": [{"name": "a", "nodes": ["asks"]}, {"name": "b", "nodes": ["waits"]}]}},
        "edges": [{"from": "check", "to": "both"}, {"from": "both", "to": "joins"}, {"from": "joins", "to": "end"}],
    }
    fork = load(data, {"check": standard.check, "asks": asks, "waits": waits, "joins": joins}, {})
    runtime, journal = _with(runtime_over(wire), fork), ListJournal()
    work = turn(spec(route(server), workflow="fork"), "hello")
    running = asyncio.create_task(runtime.run(work, lambda _: None, journal))
    while not journal.entries:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    hold.set()
    result = await runtime.run(replace(work, attempt=2), lambda _: None, journal)
    assert (result.text, server.count) == ("Good day to you.", 1)


def _with(runtime: AgentRuntime, fork: Any) -> AgentRuntime:
    agents: Any = runtime.agents
    agents._workflows = {**agents._workflows, "fork": fork}
    return runtime


async def test_a_round_that_cannot_be_kept_ends_the_run(server: ModelServer, wire: Wire) -> None:
    agent = spec(route(server), tools=["current_time"])
    server.script(Plan(kind="tool", name="current_time"))
    with pytest.raises(ConnectionError):
        await runtime_over(wire).run(turn(agent, "what time is it"), lambda _: None, ListJournal(refuse=1))
    assert server.count == 1


async def test_an_unreadable_entry_begins_anew(server: ModelServer, wire: Wire) -> None:
    work = replace(turn(spec(route(server)), "hello"), attempt=2)
    result = await runtime_over(wire).run(work, lambda _: None, ListJournal([b'{"state": {"~": "Gone", "v": {}}}']))
    assert result.text == "Good day to you."
