"""Web chat over server-sent events: the same words as over WebSocket, with messages and stop as requests.

`GET /sse/chat/<public id>` is the stream, a Channels consumer outside Django's view stack; `POST …/messages` and
`POST …/stop` speak. The token goes in the Authorization header, the cursor in Last-Event-ID or `?cursor=`.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

import orjson
import structlog
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from hub.edges import frames, visit, visitors
from hub.edges.chat import PING_SECONDS, SEND_SECONDS
from hub.edges.doors import ARRIVALS, DOORS
from hub.edges.frames import Hello
from hub.edges.guard import API_BODY, ClientGone, Refused, read_body, request_headers, require_method
from hub.edges.http import Header, Receive, Scope, Send, end_stream, more, respond, respond_json, start_stream
from hub.edges.visit import Visit
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


def cors(headers: Mapping[str, str]) -> list[Header]:
    """What a page of another origin, which was let in, needs to read the answer."""
    origin = headers.get("origin", "")
    if not origin:
        return [(b"vary", b"Origin")]
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]


def _bearer(headers: Mapping[str, str]) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _hello(scope: Scope, headers: Mapping[str, str]) -> Hello:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    given = headers.get("last-event-id") or query.get("cursor", [""])[0]
    return Hello(_bearer(headers), frames.parse_cursor(given[:64]), query.get("session", [""])[0])


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
            origin = cors(headers)
            await self._stream(connection, _hello(self.scope, headers), origin)
        except Refused as refused:
            await self._refuse(refused, origin)
        except (OSError, RuntimeError):
            return  # the client has gone; the server's disconnect follows
        except Exception:
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
        DOORS.enter(self)
        try:
            await start_stream(self.base_send, headers=origin)
            self._started = True
            await self._tell(event_bytes(current.welcome(self.cursor), self.cursor))
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
                    await self._tell(event_bytes(frames.encode_event(event), event.cursor))
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
            async with asyncio.timeout(SEND_SECONDS):
                await more(self.base_send, data)
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


async def speak(scope: Scope, receive: Receive, send: Send) -> None:
    """`POST …/messages` and `POST …/stop`, and the browser's question before them."""
    origin: list[Header] = []
    try:
        headers = request_headers(scope)
        route = scope["url_route"]["kwargs"]
        with visit.storage():
            connection = await visit.find_connection(route["public_id"], headers)
        origin = cors(headers)
        if scope["method"] == "OPTIONS":
            await respond(send, 204, headers=[*origin, *_PREFLIGHT])
            return
        require_method(scope, "POST")
        status, answer = await _spoken(connection, route["act"], headers, receive)
        await respond_json(send, status, answer, headers=origin)
    except Refused as refused:
        await respond(send, refused.status, frames.encode_error(refused), headers=[*refused.headers, *origin])
    except ClientGone:
        return


_PREFLIGHT: Final[tuple[Header, ...]] = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
    (b"access-control-max-age", b"600"),
)


async def _spoken(
    connection: LiveConnection, act: str, headers: dict[str, str], receive: Receive
) -> tuple[int, dict[str, Any]]:
    body = await read_body(headers, receive, limit=min(API_BODY, frames.MAX_FRAME))
    current = await Visit.begin(connection, _bearer(headers))
    if act == "stop":
        return 200, {"type": "stopped", "running": await current.stop()}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "malformed", "the body is a JSON object")
    ack = await current.say(frames.parse_say(found))
    token = visitors.issue(current.visitor)
    return 202, {"type": "ack", **ack, "session": str(current.session_id), "token": token}
