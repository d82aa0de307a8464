"""The load generator: one long-lived process of its own, told what to do by JSON lines, one answer line each.

It posts signed webhooks, receives the callbacks, reads streamed completions and holds WebSockets; raw asyncio
protocols with httptools, because a client library would cost more than the hub it measures.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import uvloop

from tests.benchmarks import load_onebot, load_sockets, load_streams, load_turns, load_webhooks
from tests.benchmarks.callbacks import Callbacks

Job = Callable[[Callbacks, dict[str, Any]], Awaitable[dict[str, Any]]]
JOBS: dict[str, Job] = {
    "webhooks": load_webhooks.closed,
    "paced": load_webhooks.paced,
    "turns": load_turns.closed,
    "streams": load_streams.closed,
    "onebot": load_onebot.closed,
    "sockets": load_sockets.idle,
    "watch": load_sockets.watch,
    "broadcast": load_sockets.broadcast,
}


async def serve() -> None:
    """Answer each line of standard input."""
    loop = asyncio.get_running_loop()
    callbacks = Callbacks()
    port = await callbacks.start()
    reader = asyncio.StreamReader(limit=1 << 22)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say({"port": port})
    while line := await reader.readline():
        options = orjson.loads(line)
        try:
            async with asyncio.timeout(options.get("seconds", 3.0) + 40.0):
                _say(await JOBS[options["job"]](callbacks, options))
        except Exception as error:  # noqa: BLE001 - the other side prints it and ends
            _say({"error": f"{type(error).__name__}: {error}"})
    await callbacks.stop()


def _say(value: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(serve())
