"""HTTP/1.1 to model servers: kept connections, and answers handed on in the callback in which they arrive.

A streamed answer is hundreds of small reads. A general client wakes a task for each and copies it through a buffer;
without both an answer costs half. Of a fast one the reads themselves are most of the rest: they are taken together as
far as nobody sees a difference. Only what model servers need is here: a POST, its answer, no
redirects, no cookies, no packed bodies. Who may be reached is the business of whoever makes the connections.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httptools
from yarl import URL

MAX_HEAD: Final = 64 * 1024
"""Bytes of an answer's status line and headers."""
IDLE_SECONDS: Final = 30.0
LINGER_SECONDS: Final = 0.05
"""Granted to the end of a body whose receiver has all it needs: read to its end, it leaves its connection usable."""
MOST_CONNECTIONS: Final = 2000
GATHER_SECONDS: Final = 0.02
"""What comes sooner after the last read than this waits for the rest of it: an answer is shown no finer."""
_STEADY_SECONDS: Final = 2 * GATHER_SECONDS
"""A body that is over by then is not held up."""

Dial = Callable[[URL, Callable[[], "Line"]], Awaitable["Line"]]
"""Opens a connection, TLS included, to where the URL leads; raises OSError."""


class WireFault(Exception):
    """The connection failed. `begun`: a part of the answer had come."""

    def __init__(self, detail: str, *, begun: bool = False) -> None:
        super().__init__(detail)
        self.begun = begun


class Receiver(Protocol):
    """Takes an answer as it comes. What it raises ends the connection and comes out of `Wire.post`."""

    finished: bool
    """It needs no more."""

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Status and headers, their names in lower case; called once, first."""
        ...

    def data(self, data: bytes) -> None:
        """All of the body that came in one read."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, and all of its head that does not depend on the body."""

    url: URL
    key: tuple[str, str, int]
    head: bytes

    @classmethod
    def of(cls, url: URL, headers: Mapping[str, str]) -> "Target":
        """Raises ValueError for what is no HTTP address, or a header that HTTP cannot carry."""
        if url.scheme not in ("http", "https") or not url.raw_host or url.port is None:
            raise ValueError("a model's address begins with https:// or http:// and names a host")
        host = f"[{url.raw_host}]" if ":" in url.raw_host else url.raw_host
        place = host if url.is_default_port() else f"{host}:{url.port}"
        lines = [f"POST {url.raw_path_qs} HTTP/1.1", f"Host: {place}", *(f"{n}: {v}" for n, v in headers.items())]
        if any(not line.isprintable() for line in lines):
            raise ValueError("a header has a character that HTTP cannot carry")
        head = "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")
        return cls(url, (url.scheme, url.raw_host, url.port), head)


class Line(asyncio.Protocol):
    """One connection. It answers one request at a time and is kept when an answer ended as HTTP wants it."""

    def __init__(self, freed: Callable[["Line"], None], gone: Callable[["Line"], None]) -> None:
        self._freed, self._gone = freed, gone
        self._loop = asyncio.get_running_loop()  # asking for it anew costs a system call, with every read
        self.transport: Any = None
        self.key: tuple[str, str, int] = ("", "", 0)
        self.idle_since = 0.0
        self.usable = True
        self._receiver: Receiver | None = None
        self._done: asyncio.Future[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._head_bytes, self._status = 0, 0
        self._pieces: list[bytes] = []
        self._told = self._whole = False
        self._began = self._read = 0.0
        self.begun = False

    def ask(self, request: bytes, receiver: Receiver) -> "asyncio.Future[None]":
        """Send a request; the future ends when the answer is whole or its receiver has enough."""
        self._reset()
        self._receiver = receiver
        self._done = self._loop.create_future()
        self.transport.write(request)
        return self._done

    def abort(self) -> None:
        """Close at once: nobody wants what still comes."""
        self.usable = False
        if self.transport is not None:
            self.transport.abort()

    # ---- the transport's calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Feed the parser and hand on what it found."""
        if self._receiver is None and self._linger is None:  # nobody asked for this
            self.abort()
            return
        self.begun = True
        try:
            self._parser.feed_data(data)
            if self._receiver is not None:
                self._hand_on(self._receiver)
            self._pieces.clear()
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._end(WireFault(f"no HTTP: {error}"[:300], begun=True))
        except Exception as error:  # noqa: BLE001 - the receiver's own, for who waits
            self._end(error)
        else:
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer: well where its end is the connection's, badly otherwise."""
        self.usable = False
        if self._gathering is not None:
            self._gathering.cancel()
        self._gone(self)
        framed = "content-length" in self._headers or "transfer-encoding" in self._headers
        if exc is None and self._told and not framed:
            self._end(None)
        else:
            self._end(WireFault(str(exc or "the connection was closed"), begun=self.begun))

    # ---- the parser's calls ----

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which counts like one."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD:
            raise ValueError("the answer's head is too large")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole; one of 1xx announces another."""
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """A piece of the body: a read may hold many."""
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._status < 200:
            self._headers, self._status = {}, 0
        else:
            self._whole = True
            self.usable = self.usable and self._parser.should_keep_alive()

    # ---- what follows ----

    def _hand_on(self, receiver: Receiver) -> None:
        if not self._told and self._status >= 200:
            self._told = True
            receiver.head(self._status, self._headers)
        if self._pieces:
            receiver.data(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))

    def _look(self) -> None:
        """After each read: whether the answer is over."""
        if self._whole:
            self._end(None)
        elif self._receiver is not None and self._receiver.finished:
            self._receiver = None
            self._linger = self._loop.call_later(LINGER_SECONDS, self.abort)
            self._settle(None)
        elif self._told:
            self._gather()

    def _gather(self) -> None:
        """Where a body comes faster than anybody is shown it, read on a little later, and all that has come by then."""
        now = self._loop.time()
        since, self._read = now - self._read, now
        self._began = self._began or now
        if since < 1.2 * GATHER_SECONDS and now - self._began > _STEADY_SECONDS and not self.transport.is_closing():
            self.transport.pause_reading()
            self._gathering = self._loop.call_later(GATHER_SECONDS, self._read_on)

    def _read_on(self) -> None:
        self._gathering = None
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def _end(self, error: Exception | None) -> None:
        self._receiver = None
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if error is None and self._whole and self.usable:
            self._freed(self)
        elif self.transport is not None:
            self.abort()
        self._settle(error)

    def _settle(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        if done is None or done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


class Wire:
    """The model servers' connections of one process, kept for `IDLE_SECONDS`; at most `most` at once."""

    def __init__(
        self, dial: Dial, *, check: Callable[[URL], None] = lambda _: None, most: int = MOST_CONNECTIONS
    ) -> None:
        """`check` is asked before each request, also where a connection is open already; raises OSError."""
        self._dial, self._check, self._most = dial, check, most
        self._idle: dict[tuple[str, str, int], deque[Line]] = {}
        self._open: set[Line] = set()
        self._opening = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, target: Target, body: bytes, receiver: Receiver) -> None:
        """Send a request and let its receiver take the answer.

        Raises WireFault, OSError of `check`, and what the receiver raises. Cancelling it closes the connection at
        once. A kept connection that its server had closed meanwhile costs a second try, unseen.
        """
        self._check(target.url)
        request = b"%b%d\r\n\r\n%b" % (target.head, len(body), body)
        kept = self._take(target.key)
        if kept is not None:
            try:
                await self._answered(kept, request, receiver)
                return
            except WireFault as fault:
                if fault.begun:
                    raise
        await self._answered(await self._connect(target), request, receiver)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for line in tuple(self._open):
            line.abort()
        await asyncio.sleep(0)

    async def _answered(self, line: Line, request: bytes, receiver: Receiver) -> None:
        done = line.ask(request, receiver)
        try:
            await done
        except asyncio.CancelledError:
            line.abort()
            raise

    async def _connect(self, target: Target) -> Line:
        if self._closed or len(self._open) + self._opening >= self._most:
            raise WireFault("no connection is left" if not self._closed else "the connections are closed")
        self._opening += 1
        try:
            line = await self._dial(target.url, lambda: Line(self._free, self._open.discard))
        except OSError as error:
            raise WireFault(f"{type(error).__name__}: {error}"[:300]) from error
        finally:
            self._opening -= 1
        line.key = target.key
        if line.usable:
            self._open.add(line)
        return line

    def _take(self, key: tuple[str, str, int]) -> Line | None:
        lines = self._idle.get(key)
        while lines:
            line = lines.pop()  # the one used last: those that are not needed grow old
            if line.usable and not line.transport.is_closing():
                return line
        return None

    def _free(self, line: Line) -> None:
        if self._closed:
            line.abort()
            return
        loop = asyncio.get_running_loop()
        line.idle_since = loop.time()
        self._idle.setdefault(line.key, deque()).append(line)
        if self._sweeper is None:
            self._sweeper = loop.call_later(IDLE_SECONDS / 2, self._sweep)

    def _sweep(self) -> None:
        """One timer for all: close what was idle for too long."""
        loop = asyncio.get_running_loop()
        for key, lines in list(self._idle.items()):
            while lines and (not lines[0].usable or loop.time() - lines[0].idle_since >= IDLE_SECONDS):
                lines.popleft().abort()
            if not lines:
                del self._idle[key]
        self._sweeper = loop.call_later(IDLE_SECONDS / 2, self._sweep) if self._idle else None
