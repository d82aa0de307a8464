"""`make bench`: the table of the project's speed goals with today's figures. Names choose: `S1 S3 S14`; none means all.

Everything runs here and now: a hub in a folder of its own with embedded PostgreSQL and Valkey, a scripted model, the
load generator and a raw yardstick, each in its own process. Other programs' load is recorded with each window; the
window with the least of it counts.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Sequence

import uvloop

from tests.benchmarks import suites, suites_more
from tests.benchmarks.figures import Figure, table
from tests.benchmarks.world import Hub, World

INGEST = {"S1", "S2"}
TURNS = {"S3", "S4"}
STREAMS = {"S5", "S6"}
SOCKETS = {"S10", "S11"}
STORES = {"S14", "S15"}
ALL = {*INGEST, *TURNS, *STREAMS, *SOCKETS, *STORES, "S7", "S11b", "S12"}
LIMIT_SECONDS = 360.0


async def _part(found: list[Figure], work: Awaitable[list[Figure]], name: str) -> None:
    """One suite; what fails is said and does not take the others with it."""
    begun = time.monotonic()
    try:
        figures = await work
    except (RuntimeError, OSError, TimeoutError) as error:
        _say(f"{name}: failed: {error}")
        return
    found += figures
    _say(f"{name}: {time.monotonic() - begun:.0f} s")


async def measure(names: set[str]) -> list[Figure]:
    """All figures that were asked for."""
    found: list[Figure] = []
    starts: list[tuple[str, float]] = []
    async with World.open() as world:
        async with world.hub(HUB_ROLE="gateway") as hub:
            starts.append(("on an empty folder", hub.ready))
            await world.seed()
            if names & INGEST:
                await _part(found, suites.ingest(world, hub), "S1 S2")
        if names & {*TURNS, *STREAMS, *SOCKETS, "S11b", "S12"}:
            async with world.hub() as hub:
                starts.append(("again", hub.ready))
                world.clear()
                await _with_hub(world, hub, names, found)
        if names & STORES:
            await _part(found, suites_more.slow_stores(world), "S14 S15")
    if "S12" in names:
        found += suites_more.cold_start(starts)
    return found


async def _with_hub(world: World, hub: Hub, names: set[str], found: list[Figure]) -> None:
    if "S11b" in names:
        found += [suites_more.resident(hub), suites_more.warm_state()]
    if names & {*TURNS, *STREAMS, *SOCKETS}:
        await suites.settled(world, hub)
    if names & TURNS:
        await _part(found, suites.turns(world, hub), "S3 S4")
    if names & STREAMS:
        await _part(found, suites.streams(world, hub), "S5 S6")
    if names & SOCKETS:
        await _part(found, suites_more.sockets(world, hub), "S10 S11")


async def _bounded(names: set[str]) -> list[Figure]:
    async with asyncio.timeout(LIMIT_SECONDS):
        return await measure(names)


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    names = {argument for argument in arguments if argument in ALL} or ALL
    if unknown := [argument for argument in arguments if argument not in ALL]:
        sys.exit(f"unknown: {', '.join(unknown)}; there are: {', '.join(sorted(ALL))}")
    begun = time.monotonic()
    figures = suites_more.engine() if "S7" in names else []
    if names - {"S7"}:
        figures += uvloop.run(_bounded(names))
    figures.sort(key=lambda figure: (int("".join(filter(str.isdigit, figure.name))), figure.name))
    sys.stdout.write(table(figures) + "\n")
    _say(f"{time.monotonic() - begun:.0f} s, load average {os.getloadavg()[0]:.1f}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
