"""A conversation over the hub's chat socket, as the chat page has it: the protocol is `docs/chat-protocol.md`."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from hub.cli.output import CommandFailed, Unreachable
from hub.cli.words import Phrase

CONNECT_SECONDS = 10.0
MAX_FRAME = 4 << 20
RECONNECTS = 10
QUIET_SECONDS = 0.4
Show = Callable[[str, dict[str, Any]], None]
"""Sees the type and the content of each frame on the way to an answer."""
_REFUSALS: Mapping[str, Phrase] = {
    "too_many_pages": Phrase("too many pages of this chat are open"),
    "rate_limited": Phrase("slow down a little"),
    "too_long": Phrase("the message is too long"),
    "frame_too_large": Phrase("the message is too long"),
    "unavailable": Phrase("please try again shortly"),
}
_UNANSWERED: Mapping[str, Phrase] = {
    "sessions": Phrase("the quota of sessions is used up"),
    "tokens_per_day": Phrase("the quota of tokens for today is used up"),
    "blocked": Phrase("the sender is blocked"),
    "suspended": Phrase("the tenant is suspended"),
}


class SocketLost(Exception):
    """The socket ended; the conversation goes on over a new one."""


@dataclass(slots=True)
class Talk:
    """One visitor's conversation. The token and the cursor outlive a socket, so nothing is missed and nothing twice."""

    address: str
    token: str = ""
    session: str = ""
    cursor: str = ""
    _socket: aiohttp.ClientWebSocketResponse | None = None
    _http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS))
        try:
            await self._open()
        except BaseException:  # cancelled too: without this block nobody would close it
            await self._http.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._http is not None:
            await self._http.close()

    async def ask(self, text: str, show: Show) -> dict[str, Any]:
        """Say `text` and return the answer's stored message; `show` sees each frame on the way.

        A lost socket is made again and the message said again under its id, which the hub recognises.
        """
        client_id = secrets.token_urlsafe(12)
        for _ in range(RECONNECTS):
            try:
                await self._send(type="say", client_id=client_id, text=text)
                return await self._answer(client_id, show)
            except (SocketLost, aiohttp.ClientError) as lost:
                show("lost", {"reason": str(lost)})
                await self._reopen()
        raise Unreachable("the connection was lost again and again")

    async def stop(self) -> None:
        """End the running answer."""
        await self._send(type="stop")

    async def anew(self) -> None:
        """Begin again as somebody new: another visitor, another conversation."""
        if self._socket is not None:
            await self._socket.close()
        self.token = self.session = self.cursor = ""
        await self._open()

    async def backlog(self) -> list[dict[str, Any]]:
        """The messages that a returning visitor is sent at once, as far as they come within a quiet moment."""
        found: list[dict[str, Any]] = []
        if self._socket is None:
            return found
        while True:
            try:
                message = await self._socket.receive(timeout=QUIET_SECONDS)
            except TimeoutError:
                return found
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return found
            frame: dict[str, Any] = orjson.loads(message.data)
            self.cursor = frame.get("cursor", self.cursor)
            if frame["type"] == "message":
                found.append(frame["message"])
            elif frame["type"] == "ping":
                await self._send(type="pong")

    async def _answer(self, client_id: str, show: Show) -> dict[str, Any]:
        asked: int | None = None
        answers: list[dict[str, Any]] = []  # one may be faster than the ack that says which question it is for
        async for frame in self._frames():
            if frame["type"] == "ack" and frame.get("client_id") == client_id:
                asked = _accepted(frame)
            elif frame["type"] == "message" and frame["message"]["role"] == "assistant":
                answers.append(frame["message"])
            elif frame["type"] == "error":
                await _refused(frame)
            if asked is not None and (done := _ending(answers, asked)):
                return done
            show(frame["type"], frame)
        raise SocketLost("the hub closed the socket")

    async def _frames(self) -> AsyncIterator[dict[str, Any]]:
        assert self._socket is not None  # noqa: S101 - set by __aenter__
        async for message in self._socket:
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                continue
            frame: dict[str, Any] = orjson.loads(message.data)
            self.cursor = frame.get("cursor", self.cursor)
            if frame["type"] == "ping":
                await self._send(type="pong")
            elif frame["type"] == "session":
                self.session = frame["session"]
            elif frame["type"] == "moving":
                raise SocketLost("this server is going away")
            else:
                yield frame

    async def _reopen(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        for attempt in range(RECONNECTS):
            await asyncio.sleep(min(5.0, 0.2 * 2**attempt))
            try:
                await self._open()
            except CommandFailed:
                continue
            return
        raise Unreachable("{address} does not answer any more", address=self.address)

    async def _open(self) -> None:
        assert self._http is not None  # noqa: S101 - set by __aenter__
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._socket = await self._http.ws_connect(self.address, max_msg_size=MAX_FRAME)
                await self._send(type="hello", token=self.token, session=self.session, cursor=self.cursor)
                await self._welcome()
        except aiohttp.WSServerHandshakeError as refused:
            raise CommandFailed(
                "{address} refuses: HTTP {status}", address=self.address, status=refused.status
            ) from refused
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable("no hub answers at {address}; start it with: hub up", address=self.address) from error

    async def _welcome(self) -> None:
        assert self._socket is not None  # noqa: S101 - just made
        frame = orjson.loads((await self._socket.receive()).data or b"{}")
        if frame.get("type") != "welcome":
            raise CommandFailed("the hub refuses: {reason}", reason=_reason(frame))
        self.token, self.session = frame["token"], frame.get("session") or ""
        self.cursor = frame.get("cursor") or ""

    async def _send(self, **frame: object) -> None:
        if self._socket is None or self._socket.closed:
            raise SocketLost("the socket is closed")
        try:
            await self._socket.send_str(orjson.dumps({k: v for k, v in frame.items() if v != ""}).decode())
        except ConnectionError as error:
            raise SocketLost("the socket broke") from error


@asynccontextmanager
async def talk(address: str) -> AsyncIterator[Talk]:
    """A conversation that is open inside the block."""
    async with Talk(address) as made:
        yield made


async def _refused(error: dict[str, Any]) -> None:
    """A refusal that passes by itself is waited for, as long as it says; any other ends the question."""
    if "retry_after" not in error:
        raise CommandFailed("the hub refuses: {reason}", reason=_reason(error))
    await asyncio.sleep(min(float(error["retry_after"]), 10.0))
    raise SocketLost(str(error.get("code")))


def _reason(refusal: dict[str, Any]) -> Phrase | str:
    """Why, in our words where the code has some: what the hub says itself is for programs, in English."""
    code = str(refusal.get("code", ""))
    return _REFUSALS.get(code) or str(refusal.get("message") or code) or Phrase("no welcome")


def _accepted(ack: dict[str, Any]) -> int:
    """The place of the question in the conversation."""
    if ack["status"] != "accepted":
        reason = str(ack.get("reason"))
        raise CommandFailed(
            "the hub took the message but does not answer it: {reason}", reason=_UNANSWERED.get(reason, reason)
        )
    return int(ack["seq"])


def _ending(answers: list[dict[str, Any]], asked: int) -> dict[str, Any] | None:
    """The stored answer that ended the turn, if it is there."""
    return next((one for one in answers if int(one["seq"]) > asked and one.get("turn_id")), None)
