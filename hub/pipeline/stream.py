"""A session's events as a watcher sees them: stored messages and the running answer's chunks, under one cursor.

The runner numbers chunks before any transport, so the in-process path and Redis carry the same ids and a watcher drops
what it has seen. A watcher's queue is bounded: what a slow reader has not taken is joined, beyond that the watch ends.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

MOST_EVENTS = 256
MOST_BYTES = 1 << 20
MISSING = "\n\n…\n\n"
"""Stands for the part of a running answer that nobody has any more; the stored answer is whole."""
JOIN_FROM = 32
"""Waiting events from which on neighbouring deltas are joined."""


class TooSlow(Exception):
    """The reader did not keep up; it may come back with its cursor."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """Where a watcher is: the last stored message, and inside a running answer its epoch (fence) and chunk."""

    seq: int = 0
    epoch: int = 0
    index: int = 0

    START: ClassVar["Cursor"]

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """From `<seq>.<epoch>.<index>`; raises ValueError."""
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
            raise ValueError("a cursor looks like 12.3.40")
        return cls(int(parts[0]), int(parts[1]), int(parts[2]))

    def __str__(self) -> str:
        return f"{self.seq}.{self.epoch}.{self.index}"


Cursor.START = Cursor()


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One thing to show; `cursor` is where the watcher is after it."""

    cursor: Cursor
    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A numbered event of a running turn, before any watcher's cursor is known. `seq` matters for `message` only."""

    type: str
    data: Mapping[str, Any]
    epoch: int = 0
    index: int = 0
    seq: int = 0
    size: int = 64
    span: int = 1
    """How many neighbouring chunks it stands for, `index` being the last."""


@dataclass(slots=True)
class Running:
    """The answer being written, as far as this process knows: enough to bring a watcher up to date."""

    turn_id: str
    epoch: int
    index: int = 0
    text: str = ""
    kept: deque[Chunk] = field(default_factory=lambda: deque(maxlen=512))
    shared: bool = False
    """Whether other processes have been told of it."""
    whole: bool = True
    """Whether `text` is all that was said; else what is missing is marked in it, or its beginning is."""

    def note(self, chunk: Chunk) -> None:
        """Apply the next chunk."""
        self.index = chunk.index
        if chunk.type == "delta":
            self.text += chunk.data["text"]
        elif chunk.type == "restart":
            self.text, self.whole = "", True
        elif chunk.type == "gap":
            self.text, self.whole = chunk.data["text"], chunk.data.get("whole", True)
        self.kept.append(chunk)

    def since(self, index: int) -> list[Chunk] | None:
        """The chunks after `index`, or None when some are no longer kept."""
        if index >= self.index:
            return []
        if not self.kept or self.kept[0].index > index + 1:
            return None
        return [chunk for chunk in self.kept if chunk.index > index]

    def gap(self) -> Chunk:
        """All of it at once, for those who have missed a part."""
        return Chunk("gap", {"text": self.text, "whole": self.whole}, self.epoch, self.index, 0, len(self.text) + 64)


def continued(saved: Running | None, heard: Running | None) -> Running | None:
    """An answer of which only the later chunks were `heard`, behind the text that was stored last."""
    if heard is None or saved is None or saved.epoch != heard.epoch:
        found = max((one for one in (saved, heard) if one is not None), key=lambda one: one.epoch, default=None)
        if found is not None and not found.whole:
            found.text = MISSING + found.text
        return found
    later = heard.since(saved.index)
    if later is None:
        heard.text = saved.text + MISSING + heard.text
        return heard
    for chunk in later:
        saved.note(chunk)
    return saved


class Quiet(Exception):
    """Nothing has come for as long as the watcher would wait."""


def _lapse(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(Quiet())


class Watch:
    """One watcher's bounded queue and cursor. Iterate it; it ends with TooSlow when its reader does not keep up."""

    def __init__(self, tenant_id: UUID, session_id: UUID, cursor: Cursor) -> None:
        self.tenant_id = tenant_id
        self.session_id = session_id
        self.cursor = cursor
        self._queue: deque[Chunk] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self.quiet: float | None = None
        """Seconds without a chunk after which `take` raises Quiet; None waits for ever."""
        self._slow = False
        self._ended = 0
        self._mute = 0
        self.source: AsyncIterator[StreamEvent] | None = None

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        if self.source is None:
            raise RuntimeError("this watch is not open")
        return self.source

    def put(self, chunk: Chunk) -> None:
        """Add an event; joins deltas of a slow reader, gives up on a very slow one."""
        if self._slow:
            return
        queue = self._queue
        if len(queue) >= JOIN_FROM and chunk.type == "delta" and self._joined(chunk):
            return
        queue.append(chunk)
        self._bytes += chunk.size
        if len(queue) > MOST_EVENTS or self._bytes > MOST_BYTES:
            self._slow = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _joined(self, chunk: Chunk) -> bool:
        last = self._queue[-1]
        if last.type != "delta" or last.epoch != chunk.epoch:
            return False
        text = last.data["text"] + chunk.data["text"]
        self._queue[-1] = Chunk(
            "delta", {"text": text}, chunk.epoch, chunk.index, 0, last.size + chunk.size, last.span + 1
        )
        self._bytes += chunk.size
        self._slow = self._bytes > MOST_BYTES
        return True

    async def take(self) -> list[Chunk]:
        """Everything that waits, at least one; raises TooSlow, and Quiet where that was asked for."""
        while not self._queue:
            await self._word()
        if self._slow:
            raise TooSlow
        taken = list(self._queue)
        self._queue.clear()
        self._bytes = 0
        return taken

    async def _word(self) -> None:
        """Until something is put. A future and a timer: an Event and a time limit cost half of what a chunk does."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(self.quiet, _lapse, waiter) if self.quiet is not None else None
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def misses(self, chunk: Chunk) -> bool:
        """Whether chunks before this one never came, or a part of it was seen: it cannot simply be shown next."""
        here = self.cursor
        if chunk.type not in ("delta", "status") or (chunk.epoch, chunk.index) <= (here.epoch, here.index):
            return False
        if chunk.epoch <= self._ended or chunk.epoch == self._mute:
            return False
        return chunk.index - chunk.span != (here.index if chunk.epoch == here.epoch else 0)

    def mute(self, epoch: int) -> None:
        """What came before is lost for good: show no more of this answer's text before it can be whole again."""
        self._mute = epoch

    def advance(self, chunk: Chunk) -> StreamEvent | None:
        """The chunk as this watcher's next event, or None when it has seen it already."""
        here = self.cursor
        if chunk.type == "message":
            if chunk.seq <= here.seq:
                return None
            ends = chunk.data.get("role") == "assistant" and bool(chunk.data.get("turn_id"))
            if ends:
                self._ended = max(self._ended, here.epoch)
            self.cursor = Cursor(chunk.seq) if ends else Cursor(chunk.seq, here.epoch, here.index)
        elif chunk.epoch:
            if self._is_past(chunk):
                return None
            self._mute = 0
            self.cursor = Cursor(here.seq, chunk.epoch, chunk.index)
            if chunk.type == "begin" and here.epoch:  # another holder starts the same answer again
                return StreamEvent(self.cursor, "reset", chunk.data)
        return StreamEvent(self.cursor, chunk.type, chunk.data)

    def _is_past(self, chunk: Chunk) -> bool:
        # A late writer's chunks may still come over Redis after the answer: what has ended stays ended.
        if (chunk.epoch, chunk.index) <= (self.cursor.epoch, self.cursor.index) or chunk.epoch <= self._ended:
            return True
        return chunk.epoch == self._mute and chunk.type in ("delta", "status")
