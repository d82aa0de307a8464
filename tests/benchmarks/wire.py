"""The client side of HTTP/1.1 for the load generator: keep-alive connections without a library's weight."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from typing import Any

import httptools
import orjson


class Client(asyncio.Protocol):
    """One connection, one request at a time. `piece` sees body data as it arrives."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[int] | None = None
        self._transport: Any = None
        self.piece: Callable[[bytes], None] | None = None
        self.body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Body data."""
        if self.piece is not None:
            self.piece(body)
        else:
            self.body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        done, status = self._done, self._parser.get_status_code()
        self._parser = httptools.HttpResponseParser(self)
        if done is not None and not done.done():
            done.set_result(status)

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        """Send a request; its status when the answer is whole."""
        self.body = []
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._done

    def close(self) -> None:
        """Drop the connection."""
        self._transport.close()


async def connect(port: int, count: int) -> list[Client]:
    """So many connections to a local port."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in range(count)]


class Signer:
    """Makes signed requests of Standard Webhooks."""

    def __init__(self, secret: str) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))

    def request(self, path: str, *, message_id: str, conversation: str, text: str) -> bytes:
        """A whole POST of one message of about 330 bytes."""
        data = {"id": message_id, "conversation": conversation, "sender": f"p-{conversation}", "text": text}
        body = orjson.dumps({"type": "message", "data": {**data, "sender_name": "Ada Lovelace"}})
        stamp = str(int(time.time())).encode()
        signed = b".".join((message_id.encode(), stamp, body))
        signature = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest())
        return (
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"webhook-id: %s\r\nwebhook-timestamp: %s\r\nwebhook-signature: v1,%s\r\n\r\n"
            % (path.encode(), len(body), message_id.encode(), stamp, signature)
        ) + body


def spread(samples: Sequence[float]) -> dict[str, float]:
    """p50, p99 and maximum in milliseconds of samples in seconds."""
    if not samples:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    ordered = sorted(samples)
    return {
        "p50": ordered[len(ordered) // 2] * 1e3,
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3,
        "max": ordered[-1] * 1e3,
    }
