"""A hub's doors in the test's own process, on a real socket: for what takes minutes of silence or a small buffer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvicorn

from hub.runtime import Runtime
from hub.server import config
from tests.edges.conftest import Gateway


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the test runner's


@asynccontextmanager
async def served(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, *, buffer: int = 0) -> AsyncIterator[Gateway]:
    """The raw doors of a started runtime; `buffer`: how little the kernel keeps for a reader that does not read."""
    from hub.edges.root import Root, no_door

    monkeypatch.setattr("hub.runtime._runtime", runtime)
    listener = socket.socket()
    if buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    listener.bind(("127.0.0.1", 0))
    settings = config(drain=2.0)
    settings.app, settings.lifespan = Root(no_door), "off"
    server = _Server(settings)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    process: Any = None
    try:
        yield Gateway("near", listener.getsockname()[1], process, process)
    finally:
        server.should_exit = server.force_exit = True
        await task
