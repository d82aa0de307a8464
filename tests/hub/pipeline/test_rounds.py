"""Turns of several rounds: what a model or a tool has finished is not asked again, wherever the turn goes on."""

from typing import Any

from agents.tools import Tool
from agents.types import ToolSchema
from tests.support.model_plans import Plan
from tests.support.world import World

ASKED = Plan(kind="tool", name="count")


def _counting(world: World, done: list[str], effect: Any = "none") -> None:
    """Give the tenant's agent a tool that notes its runs."""

    async def count(_: Any, __: Any) -> str:
        done.append("ran")
        return f"counted {len(done)}"

    schema = ToolSchema(name="count", description="Count.", parameters={"type": "object"})
    for runtime in (world.runtime, *world.extra):
        known: Any = runtime.agents._tools
        known._tools = {**known._tools, "count": Tool(schema=schema, run=count, effect=effect)}
        agents: Any = runtime.agents.agents
        agents._tools = known._tools
    world.rows("UPDATE agent SET tools = '[\"count\"]', version = version + 1 WHERE id = %s", world.agent_id)


async def _moved(world: World) -> None:
    """Another process takes the running turn over, as after the death of the one that had it."""
    world.rows("UPDATE session SET fence = fence + 1, lease_owner = NULL, due_at = now() - interval '1 s'")


def _unaware(world: World) -> None:
    """The first process does not learn in time that its leases are gone, as one that stood still would not."""
    keeper: Any = world.runtime.runner and world.runtime.runner._keeper

    async def renew(held: Any) -> set[Any]:
        return {session_id for session_id, _ in held}

    keeper._leases.renew = renew


def _asked(world: World) -> list[int]:
    """How many tool results each model call was shown."""
    return [sum(m["role"] == "tool" for m in call.body["messages"]) for call in world.model.calls]


async def test_a_finished_round_is_asked_once(hub_runtime: World) -> None:
    done: list[str] = []
    await hub_runtime.another(role="runner")
    _counting(hub_runtime, done)
    hub_runtime.model.script(ASKED, Plan(kind="hang"), Plan(kind="text", text="Two rounds."))
    said = await hub_runtime.say("count for me")
    await hub_runtime.until(lambda: len(hub_runtime.model.calls) == 2, what="the second round is asked")
    await _moved(hub_runtime)
    await hub_runtime.quiet()
    assert _asked(hub_runtime) == [0, 1, 1], "the first round was asked again"
    assert done == ["ran"]
    [_, answer] = await hub_runtime.runtime.chat.history(hub_runtime.tenant_id, said.session_id)
    assert answer.text == "Two rounds."
    [(status, attempts, journal, trace)] = hub_runtime.rows("SELECT status, attempts, journal, trace FROM turn")
    assert (status, attempts, journal) == ("finished", 2, None)
    assert [step["outcome"] for step in trace["steps"] if step["node"] in ("core", "tools")] == [
        "resumed",
        "resumed",
        "ok",
    ]
    booked = hub_runtime.rows("SELECT kind, count(*) FROM usage GROUP BY kind")
    assert booked == [("reply", 2)], "both rounds are booked, each once"


async def test_a_late_round_of_a_lost_lease_is_refused(hub_runtime: World) -> None:
    """The old holder comes back with a round: it is fenced before its tool acts, and the new holder's answer stands."""
    done: list[str] = []
    await hub_runtime.another(role="runner")
    _counting(hub_runtime, done, effect="once")
    _unaware(hub_runtime)
    slow = Plan(kind="tool", name="count", first_delay=1.0)
    hub_runtime.model.script(slow, ASKED, Plan(kind="text", text="Once."))
    said = await hub_runtime.say("count for me")
    await hub_runtime.until(lambda: hub_runtime.model.calls)
    await _moved(hub_runtime)
    await hub_runtime.until(lambda: hub_runtime.model.calls[0].finished, what="the late round has come")
    await hub_runtime.quiet()
    [_, answer] = await hub_runtime.runtime.chat.history(hub_runtime.tenant_id, said.session_id)
    assert (answer.text, done) == ("Once.", ["ran"])
    assert hub_runtime.value("SELECT count(*) FROM tool_call") == 1


async def test_a_plain_turn_keeps_no_journal(hub_runtime: World) -> None:
    kept: list[Any] = []
    journals: Any = hub_runtime.runtime.turns._journals
    journals._batcher.submit = kept.append
    await hub_runtime.say("hello")
    await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT status FROM turn") == [("finished",)]
    assert not kept
