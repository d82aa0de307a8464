"""S7, S10 to S12, S14, S15: engine, sockets, memory, cold start, slow stores, state reads."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from hub.embedded import Servers
from tests.benchmarks import bench_engine
from tests.benchmarks.figures import Figure
from tests.benchmarks.processes import command, resident_kb, stop_process, tree
from tests.benchmarks.suites import STREAMS, model, window
from tests.benchmarks.world import Hub, Process, World, listener, spawn

IDLE = 2000
WATCHERS = ((200, 60.0), (1000, 60.0))
"""Sockets, as many as one visitor may have on a session, and the goal in microseconds."""
OPENED_SECONDS = 3.0
"""By then pages that were opened at once have all read what was said before."""
LOADED_SECONDS = 4.0
"""By then a process that has had its first turns has loaded its sentence model."""
STATE_READS = ("checkpoint", "lines", "buffer")


def engine() -> list[Figure]:
    """S7."""
    found = asyncio.run(bench_engine.measure())
    return [
        Figure(
            "S7", "workflow engine per turn", found["engine_us"], "us", 100, note=f"plain {found['plain_us']:.1f} us"
        )
    ]


def web_pid(hub: Hub) -> int:
    """The gateway's process."""
    return next(pid for pid in tree([hub.pid]) if "hub.cli.child" in command(pid) and "hub.cli.web" in command(pid))


def resident(hub: Hub) -> Figure:
    """S11b, before any work."""
    return Figure("S11b", "gateway process idle, resident", resident_kb(web_pid(hub)) / 1024, "MB", 150)


def warm_state() -> Figure:
    """S11b: what one conversation of 10 exchanges of 200 bytes costs in L1."""
    from agents.pool import WarmStates
    from agents.types import SessionState
    from memory.types import Buffer, Line

    warm, count = WarmStates(), 500
    for _ in range(count):
        lines = [Line(n, "user" if n % 2 else "assistant", "x" * 100) for n in range(1, 21)]
        warm.put(uuid4(), SessionState(version=10, buffer=Buffer(lines, 0, 20)))
    return Figure(
        "S11b", "a conversation in L1 (its own count)", warm.bytes / count / 1024, "KB", 4, note="20 lines of 100 bytes"
    )


async def sockets(world: World, hub: Hub) -> list[Figure]:
    """S10, S11."""
    path, pid = f"/ws/chat/{world.rows['web']}", web_pid(hub)
    await world.load.run("sockets", port=hub.port, path=path, count=100)  # what the first ones load is not per socket
    before = resident_kb(pid)
    opened = await world.load.run("sockets", port=hub.port, path=path, count=IDLE)
    await asyncio.sleep(0.5)
    each = (resident_kb(pid) - before) / IDLE
    await world.load.run("sockets", port=hub.port, path=path, count=0)
    note = f"{IDLE} sockets with their hello, {opened['per_second']:.0f}/s opened"
    figures = [Figure("S10", "memory per idle WebSocket", each, "KB", 32, note=note)]
    await model(world, first_delay=0.05, delay=0.02)
    for count, goal in WATCHERS:
        figures.append(await _broadcast(world, hub, path, count, goal))
    await model(world)
    return figures


async def _broadcast(world: World, hub: Hub, path: str, count: int, goal: float | None) -> Figure:
    """S11: two answers to each visitor; the sockets are open before."""
    await world.load.run("watch", port=hub.port, path=path, count=count)
    await asyncio.sleep(OPENED_SECONDS)
    one = await window(world, "broadcast", pid=hub.pid, turns=2)
    await world.load.run("watch", count=0)
    note = f"others {one.cost.foreign_percent:.0f} %; p99 {one.figures['p99']:.0f} ms behind the first (goal 50); "
    note += f"{one.figures['count']:.0f} deliveries, us: {one.shares}; the turns included"
    return Figure("S11", f"broadcast to {count}, CPU per delivery", one.cpu * 1e6, "us", goal, note=note)


class Relayed:
    """A gateway with runner whose stores are behind the relay."""

    def __init__(self, relay: Process, port: int) -> None:
        self._relay = relay
        self.port = port

    async def tell(self, **told: Any) -> dict[str, int]:
        """Set the delay; gives the counts since the last time."""
        assert self._relay.stdin is not None
        assert self._relay.stdout is not None
        self._relay.stdin.write(json.dumps(told).encode() + b"\n")
        counts: dict[str, int] = json.loads(await self._relay.stdout.readline())
        return counts


@asynccontextmanager
async def _relay(world: World) -> AsyncIterator[tuple[Process, dict[str, int]]]:
    layout, pipe = world.layout, asyncio.subprocess.PIPE
    targets = (str(layout.run_dir / ".s.PGSQL.5432"), str(layout.valkey_socket))
    process = await spawn("tests.benchmarks.relay", *targets, stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        yield process, json.loads(await process.stdout.readline())
    finally:
        await stop_process(process)


@asynccontextmanager
async def _gateway(world: World, relay: Process, ports: dict[str, int]) -> AsyncIterator[Relayed]:
    """`hub.cli.web` as the supervisor starts it, at the relay's addresses."""
    import base64

    from hub.embedded.masterkey import existing_master_key

    key = existing_master_key(world.layout)
    assert key is not None
    database = f"127.0.0.1:{ports['postgres']}/hub?sslmode=disable"
    env = world.environment(
        HUB_DATABASE_URL=f"postgresql://hub_login@{database}",
        HUB_REDIS_URL=f"redis://127.0.0.1:{ports['valkey']}/0",
        HUB_MASTER_KEY=base64.b64encode(key).decode(),
    )
    door = listener()
    with world.log.open("ab") as log:
        process = await spawn("hub.cli.web", str(door.fileno()), env=env, fds=[door.fileno()], stderr=log, stdout=log)
    try:
        yield Relayed(relay, int(door.getsockname()[1]))
    finally:
        await stop_process(process, patience=30)
        door.close()


async def slow_stores(world: World) -> list[Figure]:
    """S14, S15: the hub is down; its servers run here, behind the relay."""
    servers = Servers(world.layout)
    await asyncio.to_thread(servers.start, purpose="benchmarks")
    try:
        async with _relay(world) as (relay, ports):
            async with _gateway(world, relay, ports) as gateway:
                late, waits = await _late(world, gateway)
                warm = await _reads(world, gateway, turns=4)
            async with _gateway(world, relay, ports) as gateway:
                cold = await _reads(world, gateway, turns=1)
    finally:
        await asyncio.to_thread(servers.stop)
    saved = 100.0 * (1 - warm["state"] / cold["state"]) if cold["state"] else 0.0
    note = f"state reads per turn {warm['state']:.2f} warm, {cold['state']:.2f} cold; "
    note += f"all round trips {warm['all']:.1f}, {cold['all']:.1f}"
    return [
        Figure("S14", "first token later when both stores answer 100 ms later", late, "ms", 110, note=waits),
        Figure("S15", "state reads saved by L1", saved, "%", 90, "at least", note),
    ]


def _ask(world: World, gateway: Relayed, *, slots: int, most: int) -> dict[str, Any]:
    people = {"run": "relayed", "depth": 1}
    return {**STREAMS, **people, "key": world.rows["key"], "port": gateway.port, "slots": slots, "most": most}


async def _late(world: World, gateway: Relayed) -> tuple[float, str]:
    """How much later the first token comes, one conversation at a time, everything warm."""
    options = {**_ask(world, gateway, slots=1, most=6), "seconds": 30.0}
    await world.load.run("streams", **options)
    await asyncio.sleep(LOADED_SECONDS)
    await world.load.run("streams", **options)
    quick = await world.load.run("streams", **options)
    await gateway.tell(delay=0.1)
    slow = await world.load.run("streams", **options)
    await gateway.tell(delay=0.0)
    late = slow["first_p50"] - quick["first_p50"]
    return late, f"first token {quick['first_p50']:.1f} ms, then {slow['first_p50']:.1f} ms"


async def _reads(world: World, gateway: Relayed, *, turns: int) -> dict[str, float]:
    """Round trips per turn of 16 people; `turns` 1: their first turn here, else later ones."""
    slots = 16
    if turns > 1:
        await world.load.run("streams", **_ask(world, gateway, slots=slots, most=1), seconds=20.0)
    await gateway.tell()
    await world.load.run("streams", **_ask(world, gateway, slots=slots, most=turns), seconds=20.0)
    counts = await gateway.tell()
    total = slots * turns
    state = sum(counts.get(name, 0) for name in STATE_READS)
    return {"state": state / total, "all": (counts.get("postgres", 0) + counts.get("valkey", 0)) / total}


def cold_start(starts: Sequence[tuple[str, float]]) -> list[Figure]:
    """S12."""
    return [Figure("S12", f"`hub up` to the first answer, {which}", seconds, "s", 6) for which, seconds in starts]
