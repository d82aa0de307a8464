"""The program on the other side of the generic webhook: takes the hub's answers and tells who waits for them."""

import asyncio
from typing import Any

import httptools
import orjson

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


class Callbacks:
    """One server; `expect` gives a future that ends with the reply of a conversation."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._server: asyncio.Server | None = None
        self.received = 0
        self.repeated = 0
        self._seen: set[str] = set()

    async def start(self) -> int:
        """Listen; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the door."""
        if self._server is not None:
            self._server.close()

    def expect(self, conversation: str) -> "asyncio.Future[dict[str, Any]]":
        """The next reply in this conversation."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[conversation] = future
        return future

    def take(self, webhook_id: str, body: bytes) -> None:
        """A delivery came."""
        self.received += 1
        if webhook_id in self._seen:
            self.repeated += 1
            return
        self._seen.add(webhook_id)
        data = orjson.loads(body)["data"]
        future = self._waiting.pop(data["conversation"], None)
        if future is not None and not future.done():
            future.set_result(data)


class _Connection(asyncio.Protocol):
    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._body, self._id = b"", ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"webhook-id":
            self._id = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        self._transport.write(ANSWER)
        self._callbacks.take(self._id, body)
