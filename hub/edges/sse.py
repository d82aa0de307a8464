"""Web chat over server-sent events: the same words as over WebSocket, with what the client says as requests.

`GET /sse/chat/<public id>` is the stream, a Channels consumer outside Django's view stack; `hub.edges.speaking` has the
requests. The token goes in the Authorization header, the cursor in Last-Event-ID or `?cursor=`.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

import structlog
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from hub.edges import frames, visit
from hub.edges.chat import PING_SECONDS, SEND_SECONDS
from hub.edges.doors import ARRIVALS, DOORS
from hub.edges.frames import Hello
from hub.edges.guard import Refused, request_headers, require_method
from hub.edges.http import Header, Scope, end_stream, more, respond, start_stream
from hub.edges.speaking import PREFLIGHT, bearer, cors
from hub.edges.visit import Visit
from hub.edges.within import within
from hub.pipeline.connections import LiveConnection
from hub.pipeline.stream import Cursor, StreamEvent, TooSlow

log = structlog.get_logger(__name__)

MAX_STREAM_SECONDS: Final = 3600.0
"""A stream is ended after an hour; the client comes back with its cursor."""
ASK_SECONDS: Final = 10.0
"""How often a stream whose visitor has said nothing yet looks whether another process took a message."""


def event_bytes(data: bytes, cursor: Cursor | None = None) -> bytes:
    """One server-sent event; its id is the cursor."""
    return b"data: " + data + b"\n\n" if cursor is None else b"id: %s\ndata: " % str(cursor).encode() + data + b"\n\n"


def _hello(scope: Scope, headers: Mapping[str, str]) -> Hello:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    given = headers.get("last-event-id") or query.get("cursor", [""])[0]
    return Hello(bearer(headers), frames.parse_cursor(given[:64]), query.get("session", [""])[0])


class ChatStream(AsyncConsumer):  # type: ignore[misc]  # Channels has no types
    """One event stream of one visitor."""

    def __init__(self) -> None:
        self.cursor = Cursor.START
        self._task: asyncio.Task[None] | None = None
        self._started = False
        self._answering = False
        self._moving = asyncio.Event()
        self._opened = self._spoke = time.monotonic()

    async def dispatch(self, message: Mapping[str, Any]) -> None:
        """Start at the request, end when the client has gone; no look after database connections is needed."""
        if message["type"] == "http.request" and self._task is None:
            self._task = asyncio.create_task(self._serve())
        elif message["type"] == "http.disconnect":
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
            raise StopConsumer

    async def _serve(self) -> None:
        origin: list[Header] = []
        try:
            DOORS.admit()
            headers = request_headers(self.scope)
            with visit.storage():
                connection = await visit.find_connection(self.scope["url_route"]["kwargs"]["public_id"], headers)
            DOORS.admit(connection.id)
            origin = cors(headers)
            if self.scope["method"] == "OPTIONS":  # a page of another site asks first, since it sends its token
                await respond(self.base_send, 204, headers=[*origin, *PREFLIGHT])
                return
            require_method(self.scope, "GET")
            await self._stream(connection, _hello(self.scope, headers), origin)
        except Refused as refused:
            await self._refuse(refused, origin)
        except (OSError, RuntimeError):
            return  # the client has gone; the server's disconnect follows
        except Exception:  # one page's stream: logged whole, and told as an internal error
            log.exception("chat_stream_failed")
            await self._refuse(Refused(500, "internal", "something went wrong"), origin)

    async def _refuse(self, refused: Refused, origin: list[Header]) -> None:
        if self._started:
            await end_stream(self.base_send, event_bytes(frames.encode_error(refused)))
        else:
            await respond(
                self.base_send, refused.status, frames.encode_error(refused), headers=[*refused.headers, *origin]
            )

    async def _stream(self, connection: LiveConnection, hello: Hello, origin: list[Header]) -> None:
        current = await Visit.begin(connection, hello.token)
        self.cursor = current.resume(hello)
        welcome = await current.welcome(self.cursor)
        DOORS.enter(self, connection.id)
        try:
            DOORS.seat(self, current.visitor.id)
            await start_stream(self.base_send, headers=origin)
            self._started = True
            await self._tell(event_bytes(welcome, self.cursor))
            session_id = current.session_id or await self._first_session(current)
            if session_id is not None:
                await self._until_moved(current, session_id)
            await end_stream(self.base_send, event_bytes(frames.encode("moving", cursor=str(self.cursor)), self.cursor))
        finally:
            DOORS.leave(self)

    async def _first_session(self, current: Visit) -> UUID | None:
        """Wait until the visitor says something, here or through another process; None when we go away first."""
        end = self._opened + MAX_STREAM_SECONDS
        with ARRIVALS.expect(current.connection.id, current.visitor.id) as arrived:
            while not self._moving.is_set() and time.monotonic() < end:
                moving = asyncio.ensure_future(self._moving.wait())
                await _either(arrived, moving)
                moving.cancel()
                found = arrived.result() if arrived.done() else await current.find_session()
                if found is not None:
                    await self._tell(event_bytes(frames.encode("session", session=found, cursor="0.0.0")))
                    return found
        return None

    async def _until_moved(self, current: Visit, session_id: UUID) -> None:
        """Pass events on until the process goes away (and the running answer is through), or an hour has gone."""
        watching = asyncio.ensure_future(self._watch(current, session_id))
        moving = asyncio.ensure_future(self._moving.wait())
        try:
            await asyncio.wait({watching, moving}, timeout=MAX_STREAM_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            elif self._answering:
                await asyncio.wait({watching}, timeout=MAX_STREAM_SECONDS)
        finally:
            watching.cancel()
            moving.cancel()
            await asyncio.gather(watching, moving, return_exceptions=True)

    async def _watch(self, current: Visit, session_id: UUID) -> None:
        try:
            async with current.watch(session_id, self.cursor) as events:
                async for event in events:
                    self.cursor = event.cursor
                    if event.type == "moving":
                        self._moving.set()
                        continue
                    self._note(event)
                    await self._tell(
                        event_bytes(frames.encode_event(event, current.connection.public_id), event.cursor)
                    )
                    if self._moving.is_set() and not self._answering:
                        return
        except TooSlow:
            raise Refused(503, "too_slow", "come back with your cursor", wait=1.0) from None

    def _note(self, event: StreamEvent) -> None:
        if event.type in ("begin", "reset", "delta"):
            self._answering = True
        elif event.type == "message" and event.data.get("role") == "assistant" and event.data.get("turn_id"):
            self._answering = False

    async def _tell(self, data: bytes) -> None:
        self._spoke = time.monotonic()
        try:
            await within(SEND_SECONDS, more(self.base_send, data))
        except TimeoutError:
            raise OSError("the client reads nothing") from None

    # ---- as one of the process's doors ----

    def look(self, now: float) -> None:
        """A comment line now and then keeps proxies from closing a silent stream."""
        if self._started and now - self._spoke > PING_SECONDS:
            self._spoke = now
            task = asyncio.ensure_future(more(self.base_send, b": ping\n\n"))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def move(self) -> None:
        """End the stream as soon as no answer is running."""
        self._moving.set()
        if self._task is not None:
            await asyncio.wait({self._task})


async def _either(first: "asyncio.Future[Any]", second: "asyncio.Future[Any]") -> None:
    await asyncio.wait({first, second}, timeout=ASK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
