"""The engine: graphs are refused with every problem named, runs resume at the failed step, branches run once."""

import asyncio
import copy
from typing import Any

import pytest

from agents.errors import GraphInvalid, StepFailed
from agents.workflow import Position, load

State = dict[str, Any]


def counter(name: str, *, fails: int = 0) -> Any:
    """A node that counts its runs in the services and fails the first times."""

    async def node(state: State, services: dict[str, int]) -> State:
        await asyncio.sleep(0)
        services[name] = services.get(name, 0) + 1
        if services[name] <= fails:
            raise ConnectionError(name)
        return {name: services[name], "detail": {"n": services[name]}}

    return node


def graph(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": "test",
        "start": "a",
        "nodes": {"a": "a", "b": "b", "c": "c", "d": "d"},
        "parallel": {
            "both": {"branches": [{"name": "left", "nodes": ["b"]}, {"name": "right", "nodes": ["c"]}]},
        },
        "edges": [{"from": "a", "to": "both"}, {"from": "both", "to": "d"}, {"from": "d", "to": "end"}],
    }
    return data | changes


def nodes(**fails: int) -> dict[str, Any]:
    return {name: counter(name, fails=fails.get(name, 0)) for name in "abcd"}


async def test_runs_in_order_and_traces_each_node() -> None:
    state: State = {}
    steps = await load(graph(), nodes(), {}).run(state, {})
    assert [step.node for step in steps] == ["a", "b", "c", "d"]
    assert state == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert steps[0].detail == {"n": 1}
    assert "detail" not in state


async def test_resume_runs_neither_finished_steps_nor_finished_branches_again() -> None:
    workflow, counts = load(graph(), nodes(c=1, d=1), {}), dict[str, int]()
    kept: list[tuple[Position, State]] = []

    def keep(position: Position, state: State) -> None:
        kept.append(copy.deepcopy((position, state)))

    with pytest.raises(StepFailed, match="both") as caught:
        await workflow.run({}, counts, checkpoint=keep)
    assert isinstance(caught.value.__cause__, ConnectionError)
    position, state = kept[-1]  # what a crashed process would have left
    with pytest.raises(StepFailed, match="'d'"):
        await workflow.run(state, counts, checkpoint=keep, resume=position)
    position, state = kept[-1]
    await workflow.run(state, counts, resume=position)
    assert counts == {"a": 1, "b": 1, "c": 2, "d": 2}
    assert state == {"a": 1, "b": 1, "c": 2, "d": 2}


async def test_a_branch_that_may_fail_is_left_out() -> None:
    branches = [{"name": "left", "nodes": ["b"]}, {"name": "right", "nodes": ["c"], "on_failure": "skip"}]
    state: State = {}
    workflow = load(graph(parallel={"both": {"branches": branches}}), nodes(c=9), {})
    steps = await workflow.run(state, {})
    assert state == {"a": 1, "b": 1, "d": 1, "failed_branches": ["right"]}
    assert [step.outcome for step in steps] == ["ok", "ok", "error", "ok"]


async def test_bounded_loop_and_conditions() -> None:
    edges = [
        {"from": "a", "to": "d", "when": "never"},
        {"from": "a", "to": "b"},
        {"from": "b", "to": "c", "when": "always", "at_most": 3},
        {"from": "b", "to": "d"},
        {"from": "c", "to": "b"},
    ]
    conditions = {"never": lambda _: False, "always": lambda _: True}
    counts: dict[str, int] = {}
    await load(graph(parallel={}, edges=edges), nodes(), conditions).run({}, counts)
    assert counts == {"a": 1, "b": 4, "c": 3, "d": 1}


async def test_cancelling_stops_all_branches() -> None:
    stopped: list[str] = []

    async def waits(state: State, services: object) -> State:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("one")
        return {}

    task = asyncio.create_task(load(graph(), nodes() | {"b": waits, "c": waits}, {}).run({}, {}))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped == ["one", "one"]


async def test_asynchronous_checkpoint_is_awaited_before_the_next_step() -> None:
    order: list[str] = []

    async def keep(position: Position, state: State) -> None:
        await asyncio.sleep(0)
        order.append(position.next)

    await load(graph(parallel={}, edges=[{"from": "a", "to": "b"}], nodes={"a": "a", "b": "b"}), nodes(), {}).run(
        {}, {}, checkpoint=keep
    )
    assert order == ["b", "end"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"start": "x"}, "start 'x' is no step"),
        ({"nodes": {"a": "zzz"}}, "unknown function 'zzz'"),
        ({"edges": [{"from": "a", "to": "nowhere"}]}, "unknown step 'nowhere'"),
        ({"edges": [{"from": "a", "to": "both", "when": "moon"}]}, "unknown condition 'moon'"),
        ({"edges": [{"from": "a", "to": "d"}]}, "'both' cannot be reached"),
        ({"edges": [{"from": "a", "to": "both", "at_most": 1}]}, "'a' has no unconditional way out"),
        ({"edges": [{"from": "a", "to": "both"}, {"from": "a", "to": "d"}]}, "never taken"),
        ({"edges": [*graph()["edges"][:2], {"from": "d", "to": "both"}]}, "a loop without a bound passes 'both'"),
        ({"parallel": {"both": {"branches": [{"name": "l", "nodes": ["b"]}]}}}, "at least two branches"),
        ({"extra": 1}, "unknown section 'extra'"),
    ],
)
def test_a_wrong_graph_is_refused_with_its_problem(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(GraphInvalid) as caught:
        load(graph(**changes), nodes(), {})
    assert problem in str(caught.value)
