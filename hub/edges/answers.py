"""Follow the answer to one message, whatever else is said in its session meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from hub.pipeline.chat import Said
from hub.pipeline.stream import Cursor, Quiet, StreamEvent, TooSlow, Watch

if TYPE_CHECKING:
    from hub.runtime import Runtime

_TURN: Final = "SELECT turn_id FROM message WHERE id = %s"
_MOST_RETURNS: Final = 5
QUIET_SECONDS: Final = 3.0
"""Silence after which a waiting reader looks again at what is stored."""


@dataclass(frozen=True, slots=True)
class Text:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Void:
    """What came so far does not count; the text begins again."""


@dataclass(frozen=True, slots=True)
class Done:
    """The stored answer, as `StoredMessage.as_json` gives it."""

    message: Mapping[str, Any]


Piece = Text | Void | Done


class Follower:
    """Picks the events of one message's turn out of its session's stream.

    `watch`: one that began at the message (see `Chat.ask`), so that nothing has to be read; it stays the caller's.
    `alone`: the message is the only one its session will ever have, so every turn there is its own.
    """

    def __init__(
        self, runtime: "Runtime", *, tenant_id: UUID, said: Said, watch: Watch | None = None, alone: bool = False
    ) -> None:
        self._runtime = runtime
        self._tenant_id = tenant_id
        self._session_id = said.session_id
        self._message_id = said.message_id
        self._cursor = Cursor(said.seq)
        self._watch = watch
        self._alone = alone
        self._turn = "" if said.turn_id is None else str(said.turn_id)
        self._mine = alone
        self._torn = False
        """A part of the running text is missing: a client that cannot take text back is sent no more of it."""

    async def pieces(self) -> AsyncIterator[Piece]:
        """The answer until it is stored. A reader that was too slow is brought up to date by `Void` and the text."""
        slow = 0
        while slow < _MOST_RETURNS:
            try:
                async with self._watching() as watch:
                    async for event in watch:
                        self._cursor = event.cursor
                        for piece in await self._read(event):
                            yield piece
                            if isinstance(piece, Done):
                                return
            except TooSlow:
                slow += 1
            except Quiet:  # word between processes may be lost; what is stored is not
                continue
        raise TooSlow

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[Watch]:
        begun, self._watch = self._watch, None
        if begun is not None:
            begun.quiet = QUIET_SECONDS
            yield begun
            return
        async with self._runtime.chat.watch(self._tenant_id, self._session_id, self._cursor) as watch:
            watch.quiet = QUIET_SECONDS
            yield watch

    async def done(self, seconds: float) -> Mapping[str, Any] | None:
        """The stored answer, or None when it is not there within the limit."""
        try:
            async with asyncio.timeout(seconds):
                async for piece in self.pieces():
                    if isinstance(piece, Done):
                        return piece.message
        except TimeoutError:
            return None
        return None

    async def _read(self, event: StreamEvent) -> tuple[Piece, ...]:
        kind, data = event.type, event.data
        if kind in ("begin", "reset"):
            self._mine, self._torn = await self._owns(data.get("turn_id")), False
            return (Void(),) if self._mine and kind == "reset" else ()
        if kind == "message":
            ends = data.get("role") == "assistant" and data.get("turn_id")
            return (Done(data),) if ends and await self._owns(data["turn_id"]) else ()
        return self._shown(kind, data) if self._mine else ()

    def _shown(self, kind: str, data: Mapping[str, Any]) -> tuple[Piece, ...]:
        if kind == "delta":
            return () if self._torn else (Text(data["text"]),)
        if kind in ("restart", "gap"):
            self._torn = not data.get("whole", True)
        if kind == "gap" and not self._torn:
            return (Void(), Text(data["text"]))
        return (Void(),) if kind in ("restart", "gap") else ()

    async def _owns(self, turn_id: object) -> bool:
        if self._alone:
            return True
        if not self._turn:
            async with self._runtime.pools.app(self._tenant_id) as conn:
                row = await (await conn.execute(_TURN, (self._message_id,))).fetchone()
            self._turn = str(row[0]) if row is not None and row[0] is not None else ""
        return self._turn == str(turn_id)


class Shown:
    """What a client that cannot take text back has been sent: text that begins anew waits until it catches up."""

    def __init__(self) -> None:
        self.sent = ""
        self._now = ""

    def add(self, piece: Text | Void) -> str:
        """What to send now."""
        if isinstance(piece, Void):
            self._now = ""
            return ""
        self._now += piece.text
        return self._rest(self._now)

    def finish(self, text: str) -> str | None:
        """The rest of the stored answer, or None when it does not go on from what was sent."""
        return self._rest(text) if text.startswith(self.sent) else None

    def _rest(self, text: str) -> str:
        if len(text) <= len(self.sent) or not text.startswith(self.sent):
            return ""
        rest, self.sent = text[len(self.sent) :], text
        return rest
