"""Web chat over WebSocket: a Channels consumer without a channel layer, one task that sends, one that receives."""

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from hub.edges import frames, visit
from hub.edges.doors import ARRIVALS, DOORS, LEAVE_SECONDS
from hub.edges.frames import Hello, Identify, Past, Ping, Pong, Say, Seen, Stop
from hub.edges.guard import Refused, address_of, request_headers
from hub.edges.http import respond_json
from hub.edges.recognising import identified, recognise
from hub.edges.visit import Visit
from hub.edges.within import within
from hub.pipeline.stream import Cursor, TooSlow

log = structlog.get_logger(__name__)

HELLO_SECONDS: Final = 10.0
PING_SECONDS: Final = 25.0
SILENT_SECONDS: Final = 80.0
SEND_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 5.0
ASK_SECONDS: Final = 120.0
"""How often a socket without a session looks for one itself: word of it may be lost while Redis is away."""
MAX_ERRORS: Final = 10
"""Frames that make no sense, after which the socket is closed."""
MAX_FALSE_NAMES: Final = 3

GOING_AWAY: Final = 1012
TRY_AGAIN: Final = 1013
POLICY: Final = 1008
TOO_BIG: Final = 1009
SILENT: Final = 4408
_CLOSE_CODES: Final[Mapping[str, int]] = {
    "bad_token": 4401,
    "not_found": 4404,
    "origin_refused": 4403,
    "too_many_pages": 4429,
}


class Line(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """The sending side of a socket: frames, refusals before it is open, closing."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor = Cursor.START
        self._spoke = time.monotonic()
        self._closed = self._moving = False
        self._gone = asyncio.Event()
        self._closing: asyncio.Future[None] | None = None
        self._errors = self._false_names = 0

    async def _refuse(self, refused: Refused) -> None:
        self._closed = True
        if self._any_code:
            await respond_json(self._as_handshake, refused.status, {"code": refused.code, "message": refused.message})
            return
        await self.close()

    @property
    def _any_code(self) -> bool:
        # Daphne closes with 1011 when asked for a code of the reserved range; it also lacks this extension.
        return "websocket.http.response" in self.scope.get("extensions", {})

    async def _as_handshake(self, message: Any) -> None:
        await self.base_send({**message, "type": "websocket." + message["type"]})

    async def tell(self, data: bytes) -> bool:
        """Send a frame, and whether it went; a client that takes none for ten seconds is dropped."""
        if self._closed:
            return False
        self._spoke = time.monotonic()
        try:
            await within(SEND_SECONDS, self.base_send({"type": "websocket.send", "text": data.decode()}))
            return True
        except TimeoutError:
            await self.shut(TRY_AGAIN, str(self.cursor))
        except (OSError, RuntimeError):
            self._closed = True  # the server says so when the client has gone; disconnect follows
        return False

    async def shut(self, code: int, reason: str) -> None:
        """Close with a code of the protocol."""
        if self._closed:
            return
        self._closed = True
        code = code if code >= 4000 or self._any_code else code + 3000
        closing = asyncio.ensure_future(self._say_closed(code, reason[:120]))
        self._closing = closing  # the loop itself keeps no hold on it
        await asyncio.wait({closing}, timeout=1.0)

    async def _say_closed(self, code: int, reason: str) -> None:
        """A reader that does not read cannot be told now; it may go on, and the server's own pings end its wait."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.close(code, reason)
        except (TimeoutError, OSError, RuntimeError):
            self._gone.set()

    async def _refused(self, refused: Refused, **about: str) -> None:
        self._errors += refused.status in (400, 413)
        self._false_names += refused.code == "bad_identity"
        await self.tell(frames.encode_error(refused, **about))
        if refused.code in _CLOSE_CODES:
            await self.shut(_CLOSE_CODES[refused.code], refused.code)
        elif refused.code == "frame_too_large":
            await self.shut(TOO_BIG, refused.code)
        elif self._errors >= MAX_ERRORS or self._false_names >= MAX_FALSE_NAMES:
            await self.shut(POLICY, "too many bad frames")

    async def move(self) -> None:
        """Say where the client was, give it a moment to leave, then close."""
        if not self._closed and not self._moving:
            self._moving = True
            await self.tell(frames.encode("moving", cursor=str(self.cursor)))
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._gone.wait()
            except TimeoutError:
                await self.shut(GOING_AWAY, str(self.cursor))


class ChatSocket(Line):
    """One socket of one visitor. All frames but pings come after hello."""

    def __init__(self) -> None:
        super().__init__()
        self.visit: Visit | None = None
        self.connection: Any = None
        self._pump: asyncio.Task[None] | None = None
        self._watched: UUID | None = None
        self._shown: UUID | None = None
        self._opened = self._heard = self._looked = time.monotonic()
        self._asked = 0.0
        self._heeds = ""

    async def dispatch(self, message: Mapping[str, Any]) -> None:
        """As the base, without its look after Django's database connections (a thread hop per frame): none is used."""
        kind = message["type"]
        if kind == "websocket.receive":
            await self._received(message)
        elif kind == "websocket.connect":
            await self._connect()
        elif kind == "websocket.disconnect":
            await self._disconnected()
            raise StopConsumer

    async def _connect(self) -> None:
        try:
            DOORS.admit()
            public_id = self.scope["url_route"]["kwargs"]["public_id"]
            with visit.storage():
                self.connection = await visit.find_connection(public_id, request_headers(self.scope))
            DOORS.admit(self.connection.id)
        except Refused as refused:
            await self._refuse(refused)
            return
        DOORS.enter(self, self.connection.id)
        await self.accept()

    async def _received(self, message: Mapping[str, Any]) -> None:
        self._heard = time.monotonic()
        if self._closed:
            return
        try:
            data = message.get("text")
            await self._act(frames.parse(data if data is not None else message.get("bytes") or b""))
        except Refused as refused:
            await self._refused(refused)

    async def _act(self, frame: frames.Frame) -> None:
        if isinstance(frame, Ping):
            await self.tell(frames.encode("pong"))
        elif isinstance(frame, Pong):
            return
        elif isinstance(frame, Hello):
            await self._hello(frame)
        elif self.visit is None:
            raise Refused(400, "hello_first", "say hello first")
        else:
            await self._converse(self.visit, frame)

    async def _converse(self, current: Visit, frame: frames.Frame) -> None:
        if isinstance(frame, Say):
            await self._say(current, frame)
        elif isinstance(frame, Stop):
            await self.tell(frames.encode("stopped", running=await current.stop()))
        elif isinstance(frame, Past):
            await self.tell(frames.encode("history", **await current.past(frame)))
        elif isinstance(frame, Seen):
            await current.see(frame.seq)
        elif isinstance(frame, Identify):
            await self._identify(current, frame.token)

    async def _hello(self, frame: Hello) -> None:
        if self.visit is not None:
            raise Refused(400, "hello_twice", "hello was said already")
        current = await Visit.begin(self.connection, frame.token, address=address_of(self.scope))
        unknown = await self._introduced(current, frame.identity) if frame.identity else None
        self.cursor = current.resume(frame)
        welcome = await current.welcome(self.cursor)
        DOORS.seat(self, current.visitor.id)
        self.visit, self._shown = current, current.session_id
        await self.tell(welcome)
        if unknown is not None:
            await self._refused(unknown)
        self._listen(current)
        if frame.token and current.session_id is None:
            await self._find(current)  # it may have begun since we looked and before we listened
        self._follow(current)

    async def _introduced(self, current: Visit, token: str) -> Refused | None:
        """A site's word in hello: not being believed does not keep anybody out."""
        try:
            await recognise(current, token)
        except Refused as refused:
            return refused
        return None

    async def _identify(self, current: Visit, token: str) -> None:
        with visit.storage():
            joined = await recognise(current, token)
        DOORS.seat(self, current.visitor.id)
        self._listen(current)
        await self.tell(frames.encode("identified", **identified(current, joined=joined)))
        await self._enter(current)

    def _listen(self, current: Visit) -> None:
        """Hear of sessions that begin on other pages of whoever this is now."""
        if self._heeds:
            ARRIVALS.forget(self.connection.id, self._heeds, self._began)
        self._heeds = current.visitor.id
        ARRIVALS.listen(self.connection.id, self._heeds, self._began)

    async def _say(self, current: Visit, frame: Say) -> None:
        try:
            ack = await current.say(frame)
        except Refused as refused:
            await self._refused(refused, client_id=frame.client_id)
            return
        self._asked = time.monotonic() if ack["status"] == "accepted" else 0.0
        await self.tell(frames.encode("ack", **ack))
        await self._enter(current)

    async def _find(self, current: Visit) -> None:
        found = await current.find_session()
        if found is not None:
            self._began(found)

    def _began(self, session_id: UUID) -> None:
        """Another page of the visitor began a session: this one goes along."""
        if self.visit is not None and session_id != self.visit.session_id and not self._closed:
            self.visit.session_id = session_id
            _later(self._enter(self.visit))

    async def _enter(self, current: Visit) -> None:
        """Tell the client which session it is in now, once, and watch it."""
        if current.session_id != self._shown:
            self._shown, self.cursor, self._watched = current.session_id, Cursor.START, None
            if self._pump is not None:
                self._pump.cancel()  # no event of the old session after the word of the new one
            await self.tell(frames.encode("session", session=current.session_id, cursor=str(self.cursor)))
        self._follow(current)

    def _follow(self, current: Visit) -> None:
        """Watch the visitor's session if it is not watched yet."""
        if current.session_id is None or current.session_id == self._watched or self._closed:
            return
        if self._pump is not None:
            self._pump.cancel()
        self._watched = current.session_id
        self._pump = asyncio.create_task(self._run_pump(current, current.session_id))

    async def _run_pump(self, current: Visit, session_id: UUID) -> None:
        try:
            with visit.storage():
                async with current.watch(session_id, self.cursor) as events:
                    async for event in events:
                        if event.type == "message" and event.data.get("role") == "assistant":
                            self._asked = 0.0
                        if event.type == "moving":
                            await self.move()
                            return
                        if await self.tell(frames.encode_event(event, self.connection.public_id)):
                            self.cursor = event.cursor  # what did not go must come again
        except (TooSlow, Refused):
            await self.shut(TRY_AGAIN, str(self.cursor))
        except Exception:  # one page's stream: logged whole, and the page comes again where it was
            log.exception("chat_stream_failed")
            await self.shut(TRY_AGAIN, str(self.cursor))

    async def _disconnected(self) -> None:
        self._closed = True
        self._gone.set()
        DOORS.leave(self)
        if self._closing is not None:
            self._closing.cancel()
        if self._heeds:
            ARRIVALS.forget(self.connection.id, self._heeds, self._began)
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    # ---- as one of the process's doors ----

    def look(self, now: float) -> None:
        """Ping after silence of ours, close after silence of theirs or without hello."""
        if self.visit is None and now - self._opened > HELLO_SECONDS:
            _later(self.shut(SILENT, "no hello"))
        elif now - self._heard > SILENT_SECONDS:
            _later(self.shut(SILENT, str(self.cursor)))
        elif now - max(self._spoke, self._heard) > PING_SECONDS:
            _later(self.tell(frames.encode("ping")))
        if self._asked and self.visit is not None and now - max(self._spoke, self._asked) > QUIET_SECONDS:
            # An answer is due and nothing comes: word from another process may be lost, what is stored is not.
            self._asked, self._watched = now, None
            self._follow(self.visit)
        if self.visit is not None and self.visit.session_id is None and now - self._looked > ASK_SECONDS:
            self._looked = now
            _later(self._find(self.visit))


def _later(work: Coroutine[Any, Any, object]) -> None:
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
