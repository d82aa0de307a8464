"""The workflow engine: walks a checked graph. It does no I/O of its own and adds microseconds per step.

A node takes the state and the services and returns what changes in the state. The state is a plain mapping owned by the
caller; after each step the checkpoint hook sees where a later run would continue. Whoever keeps a position and a state
can resume: at the step that failed, with the finished branches of a parallel group not run again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

from agents.errors import StepFailed
from agents.types import StepTrace

State = dict[str, Any]
Change = Mapping[str, Any]
Node = Callable[[Any, Any], Awaitable[Change | None]]
Condition = Callable[[Any], bool]
OnFailure = Literal["abort", "skip"]

DETAIL = "detail"
"""A change's reserved name: what the step's trace shows (names, counts and scores, never text)."""
END = "end"


@dataclass(slots=True)
class Position:
    """Where a run stands: the next step, how often each bounded edge was taken, what finished branches changed."""

    next: str
    taken: dict[str, int] = field(default_factory=dict)
    branches: dict[str, Change] = field(default_factory=dict)


Checkpoint = Callable[[Position, State], Awaitable[None] | None]
"""Called after each step and each branch; it must copy what it keeps. An awaitable is awaited before going on."""


@dataclass(frozen=True, slots=True)
class Edge:
    """From a step to the next: taken when the condition holds and the bound is not used up."""

    to: str
    when: Condition | None = None
    at_most: int = 0
    key: str = ""


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch of a parallel group: nodes in sequence, and what its failure means for the rest."""

    name: str
    nodes: Sequence[tuple[str, Node]]
    on_failure: OnFailure = "abort"


@dataclass(frozen=True, slots=True)
class Step:
    """A node or a parallel group, with its ways out."""

    name: str
    edges: Sequence[Edge]
    node: Node | None = None
    branches: Sequence[Branch] = ()


class Workflow:
    """A compiled graph, shared by all its runs. Made by `graph.load`."""

    __slots__ = ("_steps", "name", "start")

    def __init__(self, name: str, start: str, steps: Mapping[str, Step]) -> None:
        self.name = name
        self.start = start
        self._steps = steps

    async def run(
        self,
        state: State,
        services: object,
        *,
        checkpoint: Checkpoint | None = None,
        resume: Position | None = None,
        trace: list[StepTrace] | None = None,
    ) -> list[StepTrace]:
        """Walk the graph, changing `state` in place; returns the steps taken (appended to `trace` when given).

        Raises `StepFailed` (its cause is the node's error) with the position to resume from. Cancelling cancels the
        running node or branches.
        """
        position = resume or Position(self.start)
        steps = trace if trace is not None else []
        began = perf_counter()
        while position.next != END:
            step = self._steps[position.next]
            started = perf_counter()
            if step.node is None:
                await self._parallel(step, state, services, position, checkpoint, steps, began)
            else:
                try:
                    change = await step.node(state, services)
                except Exception as error:  # foreign code: traced, and raised as what it means here
                    steps.append(_traced(step.name, began, started, "error", {"error": type(error).__name__}))
                    raise StepFailed(step.name, position) from error
                steps.append(_traced(step.name, began, started, "ok", _apply(state, change)))
            position.next = _leave(step, state, position)
            if checkpoint is not None and (waiting := checkpoint(position, state)) is not None:
                await waiting
        return steps

    async def _parallel(
        self,
        step: Step,
        state: State,
        services: object,
        position: Position,
        checkpoint: Checkpoint | None,
        steps: list[StepTrace],
        began: float,
    ) -> None:
        """Run the branches that have not finished; merge all changes in the order of the graph, not of arrival."""

        async def one(branch: Branch) -> None:
            change = await _branch(branch, dict(state), services, steps=steps, began=began)
            position.branches[branch.name] = change
            if checkpoint is not None and (waiting := checkpoint(position, state)) is not None:
                await waiting

        todo = [branch for branch in step.branches if branch.name not in position.branches]
        kept = [f"{step.name}.{name}" for name in position.branches]
        steps += [_traced(name, began, perf_counter(), "resumed", _NOTHING) for name in kept]
        results = await _gather([one(branch) for branch in todo])
        failed = {b.name: r for b, r in zip(todo, results, strict=True) if isinstance(r, Exception)}
        for name, error in failed.items():
            if name in position.branches:  # it finished, and the checkpoint did not take it
                raise error
        fatal = [failed[branch.name] for branch in todo if branch.name in failed and branch.on_failure == "abort"]
        if fatal:
            raise StepFailed(step.name, position) from fatal[0]
        for branch in step.branches:
            _apply(state, position.branches.get(branch.name))
        if failed:
            state["failed_branches"] = [*state.get("failed_branches", ()), *failed]
        position.branches = {}


async def _gather(running: Sequence[Awaitable[None]]) -> list[BaseException | None]:
    """All branches to their end, also when one fails: a sibling's finished work is kept for the resume."""
    tasks = [asyncio.ensure_future(each) for each in running]
    try:
        return await asyncio.gather(*tasks, return_exceptions=True)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _branch(branch: Branch, state: State, services: object, *, steps: list[StepTrace], began: float) -> Change:
    """Run one branch on its own copy of the state; returns everything that it changed."""
    changed: dict[str, Any] = {}
    for name, node in branch.nodes:
        started = perf_counter()
        try:
            change = await node(state, services)
        except Exception as error:  # traced, and raised as it is
            steps.append(_traced(name, began, started, "error", {"error": type(error).__name__}))
            raise
        detail = _apply(state, change)
        changed.update({key: value for key, value in (change or {}).items() if key != DETAIL})
        steps.append(_traced(name, began, started, "ok", detail))
    return changed


_NOTHING: Mapping[str, object] = {}


def _apply(state: State, change: Change | None) -> Mapping[str, object]:
    """Merge a change; returns its detail for the trace."""
    if not change:
        return _NOTHING
    state.update(change)
    detail: Mapping[str, object] = state.pop(DETAIL, _NOTHING)
    return detail


def _leave(step: Step, state: State, position: Position) -> str:
    for edge in step.edges:
        if edge.when is not None and not edge.when(state):
            continue
        if edge.at_most:
            taken = position.taken.get(edge.key, 0)
            if taken >= edge.at_most:
                continue
            position.taken[edge.key] = taken + 1
        return edge.to
    return END


def _traced(
    node: str,
    began: float,
    started: float,
    outcome: Literal["ok", "error", "skipped", "resumed"],
    detail: Mapping[str, object],
) -> StepTrace:
    return StepTrace(
        node=node,
        started_ms=(started - began) * 1000,
        duration_ms=(perf_counter() - started) * 1000,
        outcome=outcome,
        detail=detail,
    )
