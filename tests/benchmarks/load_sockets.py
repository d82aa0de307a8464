"""WebSockets of the web chat: many idle ones, or many watching one answer."""

import asyncio
import base64
import os
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from tests.benchmarks.callbacks import Callbacks
from tests.benchmarks.wire import spread

ANSWER_SECONDS = 20.0
OF_ONE_VISITOR = 20
_HELD: list["Socket"] = []
"""Sockets of `idle`, kept open until the next job asks for none."""
_WATCHING: list[list["Socket"]] = []
"""Those of `watch`, by visitor."""


class Socket(asyncio.Protocol):
    """A WebSocket client of a few lines: text frames both ways, nothing else."""

    def __init__(self, path: str, headers: str = "") -> None:
        self._path, self._headers = path, headers
        self._data = b""
        self._open = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: Any = None
        self.welcome: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.heard: Callable[[dict[str, Any]], None] = lambda _: None
        self.lost: Callable[[str], None] = lambda _: None
        self._reason = "no close frame"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{self._headers}\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """A socket that closes before its welcome is an error."""
        for waited in (self.opened, self.welcome):
            if not waited.done():
                waited.set_exception(exc or ConnectionError("closed"))
                waited.exception()  # whoever waits gets it; nobody has to
        self.lost(self._reason)

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
            self.opened.set_result(None)
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
        elif kind == 8:
            self._reason = f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}"
            self._transport.close()
        elif kind == 1:
            message = orjson.loads(payload)
            if message.get("type") == "welcome" and not self.welcome.done():
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
    await socket.opened
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


class _Watching:
    """What the watchers of one session hear; lateness is against the first that got the same words."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, str], float] = {}
        self.late: list[float] = []
        self.answered = 0
        self._most = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def heard(self, group: int, message: dict[str, Any]) -> None:
        """Something came at one of a visitor's."""
        if message["type"] == "delta":
            now = time.perf_counter()
            self.late.append(now - self.seen.setdefault((group, message["cursor"]), now))
        elif message["type"] == "error":
            self.lost(message["code"])
        elif message["type"] == "message" and message["message"]["role"] == "assistant":
            self.answered += 1
            if self.answered == self._most and not self._done.done():
                self._done.set_result(None)

    def lost(self, reason: str) -> None:
        """One of them was closed before it had everything."""
        if not self._done.done():
            self._done.set_exception(ConnectionError(f"a watcher was closed: {reason}"))

    async def all_answered(self, count: int) -> None:
        """Until every one of `count` has heard the end of one more answer."""
        self._most += count
        if self.answered < self._most:
            self._done = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._done
            except TimeoutError:
                raise TimeoutError(f"{self.answered} of {self._most} answers, {len(self.late)} deltas") from None


async def _watched(options: dict[str, Any]) -> list[Socket]:
    """As many sockets as one visitor may have open, all on its session, which has an answer already."""
    first, welcome = await _open(options["port"], options["path"])
    hello = {"token": welcome["token"], "cursor": await _first_answer(first)}
    more = (_open(options["port"], options["path"], **hello) for _ in range(OF_ONE_VISITOR - 1))
    return [first, *(socket for socket, _welcome in await asyncio.gather(*more))]


async def watch(_: Callbacks, options: dict[str, Any]) -> dict[str, Any]:
    """Open `count` sockets, twenty of each visitor on its session, and hold them for `broadcast`; 0 closes all."""
    for group in _WATCHING:
        for socket in group:
            socket.lost = lambda _: None
            socket.close()
    _WATCHING.clear()
    _WATCHING.extend(await asyncio.gather(*(_watched(options) for _ in range(options["count"] // OF_ONE_VISITOR))))
    return {"held": sum(map(len, _WATCHING))}


async def broadcast(_: Callbacks, options: dict[str, Any]) -> dict[str, Any]:
    """Every visitor's twenty sockets hear its answers, `turns` of them."""
    watching = _Watching()
    for number, group in enumerate(_WATCHING):
        for socket in group:
            socket.heard, socket.lost = partial(watching.heard, number), watching.lost
    begun = time.perf_counter()
    for number in range(options["turns"]):
        for group in _WATCHING:
            group[0].say(type="say", client_id=f"b{number}", text="Please tell me more about that.")
        await watching.all_answered(sum(map(len, _WATCHING)))
    return {"count": len(watching.late), "seconds": time.perf_counter() - begun, **spread(watching.late)}
