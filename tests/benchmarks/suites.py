"""S1 to S6: webhooks, whole turns and streams against the real hub, windows interleaved with a yardstick."""

import asyncio
import json
import urllib.request
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.figures import Figure, Window, middle, quiet
from tests.benchmarks.processes import Meter
from tests.benchmarks.world import EXPECTS, SECRET, Hub, World

SECONDS = 2.0
ROUNDS = 3
STREAMS = {"path": "/v1/chat/completions", "model": "assistant", "sessions": True}
PACED = {"first_delay": 0.05, "delay": 0.005}
SLOW = {"first_delay": 0.3, "delay": 1 / 30, "chunks": 30}


async def window(world: World, job: str, *, pid: int, others: Sequence[int] = (), **options: Any) -> Window:
    """One measured window of a job against the processes under `pid`."""
    meter = Meter([pid], [*world.tools, *others])
    meter.start()
    figures = await world.load.run(job, secret=SECRET, **options)
    return Window(figures, meter.stop())


async def model(world: World, **plan: Any) -> None:
    """What the scripted model does from now on."""
    url = f"http://127.0.0.1:{world.model_port}/control"
    request = urllib.request.Request(url, data=json.dumps({"default": plan}).encode(), method="POST")
    await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=5).read())


async def settled(world: World, hub: Hub) -> None:
    """A hub that has had its first turns, loaded its sentence model, and done what beat asks for at a start."""
    await model(world)
    options = {"paths": world.rows["paths"], "expects": EXPECTS, "seconds": 1.0, "port": hub.port, "slots": 8}
    await world.load.run("turns", secret=SECRET, **options)
    async with asyncio.timeout(60):
        while not list(world.folder.rglob("*.onnx")):
            await asyncio.sleep(0.5)
    await asyncio.sleep(8.0)


async def ingest(world: World, hub: Hub) -> list[Figure]:
    """S1, S2: the gateway alone."""
    posts: dict[str, Any] = {"conversations": 2000, "connections": 64, "seconds": SECONDS}
    raws, ours = list[Window](), list[Window]()
    async with world.raw() as (raw, port):
        others = (raw.pid, hub.pid)
        # Before the flood: the disk is busy with that for a while afterwards, and a commit waits for the disk.
        options = {"conversations": 2000, "connections": 64, "seconds": 3.0, "rate": 200, "paths": world.rows["paths"]}
        await world.load.run("paced", secret=SECRET, port=hub.port, **{**options, "seconds": 1.0})
        paced = await window(world, "paced", pid=hub.pid, port=hub.port, others=others, **options)
        for _ in range(ROUNDS):
            options = {**posts, "paths": ["/x"], "prepared": 100_000}
            raws.append(await window(world, "webhooks", pid=raw.pid, port=port, others=others, **options))
            options = {**posts, "paths": world.rows["paths"], "prepared": 30_000}
            ours.append(await window(world, "webhooks", pid=hub.pid, port=hub.port, others=others, **options))
    best, yard = quiet(ours), quiet(raws)
    refused = sum(count for one in ours for status, count in one.figures["statuses"].items() if status != "200")
    note = f"{_load(best)}; CPU us/op: {best.shares}; not 200: {refused}"
    return [
        Figure("S1", "durable webhook acks, 64 in flight", best.rate, "/s", 6000, "at least", note),
        Figure("S1", "share of the raw door", best.rate / yard.rate, "", 0.25, "at least", f"raw {yard.rate:.0f}/s"),
        Figure("S1", "CPU per ack", best.cpu * 1e6, "us", None, note=f"raw {yard.cpu * 1e6:.0f} us"),
        Figure("S2", "p99 under that load", best.figures["p99"], "ms", 40, note=f"p50 {best.figures['p50']:.1f}"),
        Figure(
            "S2", "p99 at 200/s", paced.figures["p99"], "ms", 15, note=f"p50 {paced.figures['p50']:.1f}; {_load(paced)}"
        ),
    ]


async def turns(world: World, hub: Hub) -> list[Figure]:
    """S3, S4: whole turns, callbacks received."""
    await model(world)
    options = {"paths": world.rows["paths"], "expects": EXPECTS, "seconds": SECONDS}
    await world.load.run("turns", secret=SECRET, port=hub.port, slots=8, **options)
    found: dict[int, list[Window]] = {16: [], 64: []}
    for _ in range(ROUNDS):
        for slots, windows in found.items():
            windows.append(await window(world, "turns", pid=hub.pid, port=hub.port, slots=slots, **options))
    best = quiet([*found[16], *found[64]])
    figures = [
        Figure(
            "S3",
            "CPU per whole turn over webhooks",
            best.cpu * 1e3,
            "ms",
            2.0,
            note=f"{_load(best)}; us: {best.shares}",
        )
    ]
    for slots, windows in found.items():
        one = quiet(windows)
        note = (
            f"{_load(one)}; median {middle(windows):.0f}; p50 {one.figures['p50']:.0f}, p99 {one.figures['p99']:.0f} ms"
        )
        figures.append(Figure("S4", f"whole turns, {slots} at once", one.rate, "/s", 600, "at least", note))
    return figures


async def streams(world: World, hub: Hub) -> list[Figure]:
    """S5, S6: streamed completions, at once and paced."""
    options = {**STREAMS, "key": world.rows["key"], "seconds": SECONDS, "port": hub.port}
    await model(world)
    await world.load.run("streams", slots=8, **options)
    windows = [await window(world, "streams", pid=hub.pid, slots=16, **options) for _ in range(ROUNDS)]
    at_once = quiet(windows)
    await model(world, **PACED)
    straight = await world.load.run("streams", secret=SECRET, slots=96, **{**options, "port": world.model_port})
    paced = quiet([await window(world, "streams", pid=hub.pid, slots=96, **options) for _ in range(ROUNDS)])
    await model(world, **SLOW)
    wide = await window(world, "streams", pid=hub.pid, slots=200, most=1, **options)
    await model(world)
    first = {name: paced.figures[f"first_{name}"] - 50 for name in ("p50", "p99")}
    without = (
        f"without a hub: {straight['count'] / straight['seconds']:.0f}/s, first token "
        f"+{straight['first_p50'] - 50:.0f} / +{straight['first_p99'] - 50:.0f} ms"
    )
    note = f"{_load(at_once)}; {at_once.rate:.0f}/s; us: {at_once.shares}"
    return [
        Figure("S5", "CPU per streamed turn, 64 chunks", at_once.cpu * 1e3, "ms", 2.5, note=note),
        Figure("S5", "the same, paced", paced.cpu * 1e3, "ms", 4.0, note=f"{_load(paced)}; us: {paced.shares}"),
        Figure("S6", "paced, 96 at once, of 259", paced.rate, "/s", 215, "at least", f"{without}; {_load(paced)}"),
        Figure("S6", "first token added, p50", first["p50"], "ms", 20),
        Figure("S6", "first token added, p99", first["p99"], "ms", 60),
        Figure(
            "S6", "first token added, p99, 200 at once", wide.figures["first_p99"] - 300, "ms", 50, note=_load(wide)
        ),
    ]


def _load(one: Window) -> str:
    return f"others {one.cost.foreign_percent:.0f} %"
