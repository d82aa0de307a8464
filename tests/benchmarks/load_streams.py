"""Streamed completions over /v1/chat/completions: first token, whole answer, chunks."""

import asyncio
import re
import time
import uuid
from typing import Any
from urllib.parse import urlencode

import orjson

from tests.benchmarks.callbacks import Callbacks
from tests.benchmarks.load_turns import TEXT
from tests.benchmarks.wire import Client, connect, spread

_CONTENT = re.compile(rb'"content": ?"[^"]')


class _Reading:
    """What one answer looked like from outside; `ends` is what its last event holds."""

    def __init__(self, ends: bytes) -> None:
        self._ends = ends
        self.ended = False
        self.begun = time.perf_counter()
        self.first = 0.0
        self.pieces = 0
        self.tail = b""

    def __call__(self, data: bytes) -> None:
        if not self.first and _CONTENT.search(data):
            self.first = time.perf_counter()
        self.pieces += data.count(b"\ndata: ") + data.startswith(b"data: ")
        self.ended = self.ended or self._ends in self.tail + data
        self.tail = data[-64:]


def _request(options: dict[str, Any], session: str) -> bytes:
    if options.get("form"):
        return _form(options, session)
    body = orjson.dumps(
        {
            "model": options["model"],
            "stream": True,
            "messages": [{"role": "user", "content": TEXT}],
            **({"user": session} if session else {}),
        }
    )
    headers = f"Authorization: Bearer {options['key']}\r\nContent-Type: application/json\r\n"
    headers += "".join(f"{name}: {value}\r\n" for name, value in options.get("headers", {}).items())
    if session and options.get("session_header"):
        headers += f"{options['session_header']}: {session}\r\n"
    head = f"POST {options['path']} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _form(options: dict[str, Any], session: str) -> bytes:
    """The same question as a form, as agno's AgentOS takes it."""
    body = urlencode({"message": TEXT, "stream": "true", "session_id": session, "user_id": session}).encode()
    head = f"POST {options['path']} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + body


async def closed(_: Callbacks, options: dict[str, Any]) -> dict[str, Any]:
    """`slots` streams at once, each slot beginning the next when the last has ended."""
    run, depth = options.get("run") or uuid.uuid4().hex[:8], options.get("depth", 50)
    clients = await connect(options["port"], options["slots"])
    times: list[float] = []
    firsts: list[float] = []
    pieces: list[int] = []
    start = time.perf_counter()
    end = start + options["seconds"]

    async def slot(number: int, client: Client) -> None:
        count = 0
        while time.perf_counter() < end and count < options.get("most", 1_000_000):
            reading = _Reading(options.get("ends", "[DONE]").encode())
            client.piece = reading
            session = f"{run}-{number}-{count % depth}" if options.get("sessions") else ""
            status = await client.ask(_request(options, session))
            if status != 200 or not reading.ended or not reading.first:
                raise ValueError(f"status {status}, ended with {reading.tail!r}")
            times.append(time.perf_counter() - reading.begun)
            firsts.append(reading.first - reading.begun)
            pieces.append(reading.pieces)
            count += 1

    await asyncio.gather(*(slot(number, client) for number, client in enumerate(clients)))
    elapsed = time.perf_counter() - start
    for client in clients:
        client.close()
    first = {f"first_{name}": value for name, value in spread(firsts).items()}
    return {"count": len(times), "seconds": elapsed, "pieces": sum(pieces) / len(pieces), **spread(times), **first}
