"""WebSockets of the web chat: many idle ones, or many watching one answer."""

import asyncio
import base64
import os
import struct
import time
from collections.abc import Callable
from typing import Any

import orjson

from tests.benchmarks.callbacks import Callbacks
from tests.benchmarks.wire import spread

_HELD: list["Socket"] = []
"""Sockets of `idle`, kept open until the next job asks for none."""


class Socket(asyncio.Protocol):
    """A WebSocket client of a few lines: text frames both ways, nothing else."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._data = b""
        self._open = False
        self._transport: Any = None
        self.welcome: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.heard: Callable[[dict[str, Any]], None] = lambda _: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """A socket that closes before its welcome is an error."""
        if not self.welcome.done():
            self.welcome.set_exception(exc or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames."""
        self._data += data
        if not self._open:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head:
                self._transport.close()
                return
            self._open, self._data = True, rest
        while (frame := self._frame()) is not None:
            self._hear(frame)

    def _frame(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1] & 127, 2
        if size == 126:
            if len(data) < 4:
                return None
            size, start = struct.unpack(">H", data[2:4])[0], 4
        elif size == 127:
            if len(data) < 10:
                return None
            size, start = struct.unpack(">Q", data[2:10])[0], 10
        if len(data) < start + size:
            return None
        self._data = data[start + size :]
        return data[0] & 15, data[start : start + size]

    def _hear(self, frame: tuple[int, bytes]) -> None:
        kind, payload = frame
        if kind == 9:
            self._write(10, payload)
        elif kind == 1:
            message = orjson.loads(payload)
            if message["type"] == "welcome" and not self.welcome.done():
                self.welcome.set_result(message)
            else:
                self.heard(message)

    def _write(self, kind: int, payload: bytes) -> None:
        # A mask of zeros is a mask; it leaves the payload as it is.
        size = bytes([128 | len(payload)]) if len(payload) < 126 else bytes([254]) + struct.pack(">H", len(payload))
        self._transport.write(bytes([128 | kind]) + size + b"\0\0\0\0" + payload)

    def say(self, **frame: Any) -> None:
        """Send a frame of the chat protocol."""
        self._write(1, orjson.dumps(frame))

    def close(self) -> None:
        """Drop the connection."""
        self._transport.close()


async def _open(port: int, path: str, **hello: Any) -> tuple[Socket, dict[str, Any]]:
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(lambda: Socket(path), "127.0.0.1", port)
    while not socket._open:  # a handshake of some milliseconds
        if socket.welcome.done():
            break
        await asyncio.sleep(0.001)
    socket.say(type="hello", **hello)
    return socket, await socket.welcome


async def idle(_: Callbacks, options: dict[str, Any]) -> dict[str, Any]:
    """Open so many sockets and hold them; 0 closes all."""
    if not options["count"]:
        for socket in _HELD:
            socket.close()
        _HELD.clear()
        await asyncio.sleep(0.2)
        return {"held": 0}
    begun = time.perf_counter()
    for _batch in range(options["count"] // 50):
        opened = await asyncio.gather(*(_open(options["port"], options["path"]) for _n in range(50)))
        _HELD.extend(socket for socket, _welcome in opened)
    return {"held": len(_HELD), "per_second": len(_HELD) / (time.perf_counter() - begun)}


async def _first_answer(socket: Socket) -> str:
    """Say something, so that there is a session to watch; its cursor after the answer."""
    answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def heard(message: dict[str, Any]) -> None:
        if message["type"] == "message" and message["message"]["role"] == "assistant" and not answered.done():
            answered.set_result(message["cursor"])

    socket.heard = heard
    socket.say(type="say", client_id="first", text="Hello there, who are you?")
    return await answered


async def broadcast(_: Callbacks, options: dict[str, Any]) -> dict[str, Any]:
    """`count` sockets of one visitor watch its answers; lateness is against the first that got the same words."""
    first, welcome = await _open(options["port"], options["path"])
    cursor = await _first_answer(first)
    hello = {"token": welcome["token"], "cursor": cursor}
    sockets = [first]
    for _batch in range(options["count"] // 50):
        opened = await asyncio.gather(*(_open(options["port"], options["path"], **hello) for _n in range(50)))
        sockets += [socket for socket, _welcome in opened]
    seen: dict[str, float] = {}
    late: list[float] = []
    done = asyncio.Semaphore(0)

    def heard(message: dict[str, Any]) -> None:
        if message["type"] == "delta":
            now = time.perf_counter()
            late.append(now - seen.setdefault(message["cursor"], now))
        elif message["type"] == "message" and message["message"]["role"] == "assistant":
            done.release()

    for socket in sockets:
        socket.heard = heard
    begun = time.perf_counter()
    for number in range(options["turns"]):
        first.say(type="say", client_id=f"b{number}", text="Please tell me more about that.")
        for _socket in sockets:
            await done.acquire()
    elapsed = time.perf_counter() - begun
    for socket in sockets:
        socket.close()
    return {"count": len(late), "seconds": elapsed, **spread(late)}
