"""Workflow engine: CPU per standard turn with checkpoints in memory, against the same work as plain functions.

Run: `python -m tests.benchmarks.bench_engine`. Prints one JSON line: microseconds per turn and the ratio.
"""

import asyncio
import json
import sys
import time
from typing import Any

from agents.standard import CONDITIONS, STANDARD
from agents.workflow import Position, load

TURNS = 20_000
State = dict[str, Any]


async def check(_: State, __: object) -> State:
    return {"text": "hello", "refused": False, "oversized": False}


async def memory_needed(state: State, _: object) -> State:
    return {"wants_memory": True}


async def recall(state: State, _: object) -> State:
    return {"recalled": ()}


async def core(state: State, _: object) -> State:
    return {"answer": "good day", "wants_tools": False, "finish": "stop", "folded": (None, 1)}


async def summary(state: State, _: object) -> State:
    return {"batch": 1}


async def nothing(_: State, __: object) -> State:
    return {}


NODES = {
    "check": check,
    "condense": nothing,
    "memory_needed": memory_needed,
    "recall": recall,
    "core": core,
    "tools": nothing,
    "summary": summary,
}


class InMemory:
    """Keeps the last checkpoint: what a process that goes on needs to resume."""

    def __init__(self) -> None:
        self.kept: tuple[str, State] = ("", {})

    def __call__(self, position: Position, state: State) -> None:
        self.kept = (position.next, state.copy())


async def plain() -> State:
    state: State = {}
    for node in (check, memory_needed, recall, core, summary):
        state.update(await node(state, None))
    return state


async def measure() -> dict[str, float]:
    workflow, checkpoint = load(STANDARD, NODES, CONDITIONS), InMemory()
    best = {"engine_us": 1e9, "plain_us": 1e9}
    for _ in range(5):
        began = time.process_time()
        for _ in range(TURNS // 5):
            await workflow.run({}, None, checkpoint=checkpoint)
        best["engine_us"] = min(best["engine_us"], (time.process_time() - began) / (TURNS // 5) * 1e6)
        began = time.process_time()
        for _ in range(TURNS // 5):
            await plain()
        best["plain_us"] = min(best["plain_us"], (time.process_time() - began) / (TURNS // 5) * 1e6)
    return {**best, "ratio": best["engine_us"] / best["plain_us"], "steps": 5}


def main() -> None:
    sys.stdout.write(json.dumps({name: round(value, 2) for name, value in asyncio.run(measure()).items()}) + "\n")


if __name__ == "__main__":
    main()
