"""Answers of the raw doors: whole ones always with their length, streams in as few sends as there are moments."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

import orjson

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Final = b"application/json"
EVENT_STREAM: Final[tuple[Header, ...]] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx would hold chunks back
)


async def respond(
    send: Send, status: int, body: bytes = b"", *, media_type: bytes = JSON, headers: Iterable[Header] = ()
) -> None:
    """Send a whole answer."""
    fixed = ((b"content-length", b"%d" % len(body)), (b"content-type", media_type))
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


async def respond_json(send: Send, status: int, value: object, *, headers: Iterable[Header] = ()) -> None:
    """Send a JSON answer."""
    await respond(send, status, orjson.dumps(value), headers=headers)


async def start_stream(send: Send, *, headers: Iterable[Header] = ()) -> None:
    """Begin a stream of server-sent events."""
    await send({"type": "http.response.start", "status": 200, "headers": [*EVENT_STREAM, *headers]})


async def more(send: Send, data: bytes) -> None:
    """Send a piece of a stream."""
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def end_stream(send: Send, data: bytes = b"") -> None:
    """Send the last piece of a stream."""
    await send({"type": "http.response.body", "body": data, "more_body": False})


def retry_after(seconds: float) -> Header:
    """Whole seconds, at least one."""
    return (b"retry-after", b"%d" % max(1, round(seconds)))
