"""Whole turns over the generic webhook: a signed message in, its answer received as a callback."""

import asyncio
import time
import uuid
from typing import Any

from tests.benchmarks.callbacks import Callbacks
from tests.benchmarks.wire import Signer, connect, spread

TEXT = "Please tell me more about that."


async def closed(callbacks: Callbacks, options: dict[str, Any]) -> dict[str, Any]:
    """`slots` people at once; each says the next thing when the last was answered, over 50 conversations a slot."""
    signer, run = Signer(options["secret"]), uuid.uuid4().hex[:8]
    paths, depth = options["paths"], options.get("depth", 50)
    clients = await connect(options["port"], options["slots"])
    times: list[float] = []
    start = time.perf_counter()
    end = start + options["seconds"]

    async def slot(number: int) -> None:
        client, path, count = clients[number], paths[number % len(paths)], 0
        while (begun := time.perf_counter()) < end:
            conversation = f"{run}-{number}-{count % depth}"
            answered = callbacks.expect(conversation)
            request = signer.request(path, message_id=f"{conversation}-{count}", conversation=conversation, text=TEXT)
            if await client.ask(request) != 200:
                raise ValueError("refused")
            reply = await answered
            if not reply["text"].startswith(options.get("expects", "")):
                raise ValueError(f"not the model's answer: {reply['text'][:80]}")
            times.append(time.perf_counter() - begun)
            count += 1

    await asyncio.gather(*(slot(number) for number in range(options["slots"])))
    elapsed = time.perf_counter() - start
    for client in clients:
        client.close()
    return {"count": len(times), "seconds": elapsed, "repeated": callbacks.repeated, **spread(times)}
