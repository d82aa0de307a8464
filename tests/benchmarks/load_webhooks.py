"""Webhooks only: how fast they are acknowledged."""

import asyncio
import itertools
import random
import time
import uuid
from typing import Any

from tests.benchmarks.callbacks import Callbacks
from tests.benchmarks.wire import Client, Signer, connect, spread

TEXT = "Good morning! My order has not come yet, could you please have a look where it is? The number is 4711-0815. "


def _requests(options: dict[str, Any], count: int) -> list[bytes]:
    """Signed ahead of the window, so that the window measures the hub and not the signing."""
    signer, run = Signer(options["secret"]), uuid.uuid4().hex[:12]
    paths, conversations = options["paths"], options["conversations"]
    return [
        signer.request(
            paths[n % len(paths)],
            message_id=f"{run}-{n}",
            conversation=f"{run[:4]}-{random.randrange(conversations)}",
            text=TEXT,
        )
        for n in range(count)
    ]


async def closed(_: Callbacks, options: dict[str, Any]) -> dict[str, Any]:
    """`connections` clients, each sending its next request when the last one was answered."""
    clients = await connect(options["port"], options["connections"])
    requests = itertools.cycle(_requests(options, options["prepared"]))
    times: list[float] = []
    statuses: dict[str, int] = {}
    end = time.perf_counter() + options["seconds"]

    async def one(client: Client) -> None:
        while (begun := time.perf_counter()) < end:
            status = str(await client.ask(next(requests)))
            times.append(time.perf_counter() - begun)
            statuses[status] = statuses.get(status, 0) + 1

    begun = time.perf_counter()
    await asyncio.gather(*(one(client) for client in clients))
    elapsed = time.perf_counter() - begun
    for client in clients:
        client.close()
    if len(times) > options["prepared"]:
        raise ValueError(f"only {options['prepared']} requests were prepared for {len(times)} sends")
    return {"count": len(times), "seconds": elapsed, "statuses": statuses, **spread(times)}


async def paced(_: Callbacks, options: dict[str, Any]) -> dict[str, Any]:
    """`rate` requests per second, whatever the answers do; latency counts from the moment each was due."""
    clients = await connect(options["port"], options["connections"])
    requests = iter(_requests(options, int(options["rate"] * options["seconds"])))
    times: list[float] = []
    start, gap = time.perf_counter() + 0.05, 1.0 / options["rate"]
    turn = itertools.count()

    async def one(client: Client) -> None:
        for request in requests:
            due = start + next(turn) * gap
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if await client.ask(request) != 200:
                raise ValueError("refused")
            times.append(time.perf_counter() - due)

    await asyncio.gather(*(one(client) for client in clients))
    for client in clients:
        client.close()
    return {"count": len(times), "seconds": options["seconds"], **spread(times)}
