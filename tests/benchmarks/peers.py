"""`make bench-peers`: whole turns of the hub beside other programs of the kind, in the same minutes, on the same model.

The model answers 64 chunks at once, so what is measured is each program's own work. The hub stores every message before
it acknowledges it and runs with PostgreSQL and Valkey, whose CPU counts as its own; the peers are one process each.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import uvloop

from tests.benchmarks.figures import Window, middle, quiet
from tests.benchmarks.peer_install import AGNO, NONEBOT, Peer, PeerMissing, install, running
from tests.benchmarks.processes import resident_kb, tree
from tests.benchmarks.suites import STREAMS, model, window
from tests.benchmarks.world import EXPECTS, Hub, World

SECONDS = 2.0
ROUNDS = 3
SLOTS = (16, 64)
LIMIT_SECONDS = 300.0
AGNO_RUNS = {"path": "/agents/a1/runs", "form": True, "sessions": True, "ends": "event: RunCompleted"}


@dataclass(slots=True)
class Subject:
    """One program through one interface, and what its windows gave."""

    name: str
    how: str
    job: str
    pid: int
    options: dict[str, Any]
    kind: str
    windows: dict[int, list[Window]] = field(default_factory=dict)
    resident: float = 0.0
    failure: str = ""

    def best(self, slots: int) -> Window:
        """The window at so many conversations with the least foreign load."""
        return quiet(self.windows[slots])

    @property
    def cpu(self) -> float:
        """Milliseconds of CPU per turn."""
        return quiet([one for windows in self.windows.values() for one in windows]).cpu * 1e3


def _ours(world: World, hub: Hub) -> list[Subject]:
    hooks = {"port": hub.port, "paths": world.rows["paths"], "expects": EXPECTS}
    streams = {**STREAMS, "port": hub.port, "key": world.rows["key"]}
    return [
        Subject("hub", "signed webhook, callback (S3, S4)", "turns", hub.pid, hooks, "whole"),
        Subject("hub", "streamed completion (S5)", "streams", hub.pid, streams, "streamed"),
    ]


def _peer(peer: Peer, pid: int, port: int) -> Subject:
    if peer is NONEBOT:
        options: dict[str, Any] = {"port": port, "path": "/onebot/v11/ws", "expects": EXPECTS}
        return Subject("NoneBot2", "OneBot v11 reverse WebSocket", "onebot", pid, options, "whole")
    options = {**AGNO_RUNS, "port": port, "key": ""}
    return Subject("agno AgentOS", "POST /agents/a1/runs, streamed", "streams", pid, options, "streamed")


async def measure() -> list[Subject]:
    """All that can be installed, interleaved window by window."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(World.open())
        hub = await stack.enter_async_context(world.hub())
        await world.seed()
        await model(world)
        subjects = _ours(world, hub)
        for peer in (NONEBOT, AGNO):
            try:
                await install(peer)
                process, port = await stack.enter_async_context(running(peer, world))
                subjects.append(_peer(peer, process.pid, port))
            except PeerMissing as missing:
                _say(str(missing))
        for subject in subjects:
            await _try(world, subject, subjects, slots=8)
            subject.windows.clear()
        for _ in range(ROUNDS):
            for slots in SLOTS:
                for subject in subjects:
                    await _try(world, subject, subjects, slots=slots)
        for subject in subjects:
            subject.resident = sum(resident_kb(pid) for pid in tree([subject.pid])) / 1024
        return subjects


async def _try(world: World, subject: Subject, subjects: Sequence[Subject], *, slots: int) -> None:
    """One window; a program that fails once is measured no further."""
    if subject.failure:
        return
    others = [other.pid for other in subjects if other.pid != subject.pid]
    try:
        options = {**subject.options, "slots": slots, "seconds": SECONDS}
        found = await window(world, subject.job, pid=subject.pid, others=others, **options)
    except RuntimeError as error:
        subject.failure = str(error)
        _say(f"{subject.name}, {subject.how}: failed: {error}")
        return
    subject.windows.setdefault(slots, []).append(found)


def table(subjects: Sequence[Subject]) -> str:
    """As Markdown; the ratios are the hub's figures to the peer's for the same kind of turn."""
    heads = [
        "program",
        "how",
        "16 at once /s",
        "64 at once /s",
        "p50 16 ms",
        "p50 64 ms",
        "CPU ms/turn",
        "RSS MB, all processes",
    ]
    heads += ["hub's rate, 16", "hub's rate, 64", "its CPU to the hub's", "others %"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    whole = [subject for subject in subjects if set(subject.windows) == set(SLOTS)]
    ours = {subject.kind: subject for subject in whole if subject.name == "hub"}
    for subject in whole:
        mine = ours.get(subject.kind)
        lines.append("| " + " | ".join([*_figures(subject), *_ratios(subject, mine), _foreign(subject)]) + " |")
    return "\n".join(lines)


def _figures(subject: Subject) -> list[str]:
    rates = [f"{middle(subject.windows[slots]):.0f}" for slots in SLOTS]
    waits = [f"{subject.best(slots).figures['p50']:.0f}" for slots in SLOTS]
    return [subject.name, subject.how, *rates, *waits, f"{subject.cpu:.2f}", f"{subject.resident:.0f}"]


def _ratios(subject: Subject, mine: Subject | None) -> list[str]:
    if mine is None or mine is subject:
        return ["", "", ""]
    rates = [middle(mine.windows[slots]) / middle(subject.windows[slots]) for slots in SLOTS]
    return [*(f"x {rate:.2f}" for rate in rates), f"x {subject.cpu / mine.cpu:.2f}"]


def _foreign(subject: Subject) -> str:
    return " ".join(f"{subject.best(slots).cost.foreign_percent:.0f}" for slots in SLOTS)


async def _bounded() -> list[Subject]:
    async with asyncio.timeout(LIMIT_SECONDS):
        return await measure()


def main() -> None:
    """Measure and print."""
    begun = time.monotonic()
    subjects = uvloop.run(_bounded())
    sys.stdout.write(table(subjects) + "\n")
    _say(f"{time.monotonic() - begun:.0f} s, load average {os.getloadavg()[0]:.1f}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
