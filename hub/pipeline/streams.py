"""The process's streams: one publisher per running turn, local fan-out, and Redis where other processes watch.

Nothing here must survive: a lost chunk is answered by an honest gap with the text saved so far.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import UUID

from agents.types import Progress, Restarted, Status, TextDelta
from hub.pipeline.stream import Chunk, Cursor, Running, StreamEvent, Watch, continued


class Link(Protocol):
    """How chunks reach other processes; `hub.pipeline.remote` implements it over Redis."""

    def send(self, tenant_id: UUID, session_id: UUID, chunks: Sequence[Chunk]) -> None:
        """Queue chunks for whoever watches elsewhere."""

    async def follow(self, tenant_id: UUID, session_id: UUID) -> None:
        """Start receiving a session's chunks from elsewhere."""

    def unfollow(self, tenant_id: UUID, session_id: UUID) -> None:
        """Stop receiving them."""

    async def backlog(self, tenant_id: UUID, session_id: UUID) -> Running | None:
        """The running answer as other processes know it."""


_ACQUAINTED_SECONDS = 1.0
"""By then every process knows of a new one."""

History = Callable[[UUID, UUID, int], Awaitable[Sequence[Chunk]]]
"""Stored messages of (tenant, session) after a seq, oldest first, as `message` chunks."""


Saved = Callable[[UUID, UUID], Awaitable[Running | None]]
"""The text that a running turn of (tenant, session) stored last, with the number of its last chunk."""


STEP_SECONDS = 0.02
"""An answer grows at most this often for those who watch: smooth to any eye, and many times cheaper for each of them
than a model that sends hundreds of tokens a second."""


class Publisher:
    """Numbers and publishes one turn's chunks. `emit` is synchronous; neighbouring deltas leave together.

    The first delta leaves at once, later ones as soon as `STEP_SECONDS` have passed since the one before.
    """

    def __init__(
        self,
        streams: "Streams",
        tenant_id: UUID,
        session_id: UUID,
        *,
        turn_id: UUID,
        epoch: int,
        held: bool = False,
    ) -> None:
        self._streams = streams
        self._tenant_id = tenant_id
        self._session_id = session_id
        self.running = Running(turn_id=str(turn_id), epoch=epoch)
        self._pending: list[str] = []
        self._next = 0.0
        self._timer: asyncio.Handle | None = None
        self._held: list[Chunk] | None = [] if held else None
        self._publish("begin", {"turn_id": str(turn_id)})

    @property
    def text(self) -> str:
        """The answer so far."""
        return self.running.text + "".join(self._pending)

    def emit(self, progress: Progress) -> None:
        """Publish what the agent shows."""
        if isinstance(progress, TextDelta):
            self._pending.append(progress.text)
            if self._timer is None:
                loop = asyncio.get_running_loop()
                soon = self._next <= loop.time()
                self._timer = loop.call_soon(self.flush) if soon else loop.call_at(self._next, self.flush)
            return
        self.flush()
        if isinstance(progress, Status):
            self._publish("status", _shown(progress))
        elif isinstance(progress, Restarted):
            self._publish("restart", {})

    def flush(self) -> None:
        """Publish the deltas collected so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            self._next = asyncio.get_running_loop().time() + STEP_SECONDS
            text, self._pending = "".join(self._pending), []
            self._publish("delta", {"text": text}, size=len(text) + 64)

    def release(self, epoch: int) -> None:
        """Show what was held back until the message was committed, under the fence that the commit gave the turn."""
        held, self._held = self._held or [], None
        self.running = Running(turn_id=self.running.turn_id, epoch=epoch)
        for chunk in held:
            self._publish(chunk.type, chunk.data, size=chunk.size)

    def _publish(self, kind: str, data: dict[str, str] | object, *, size: int = 64) -> None:
        chunk = Chunk(kind, data, self.running.epoch, self.running.index + 1, 0, size)  # type: ignore[arg-type]
        if self._held is not None:
            self._held.append(chunk)
            self.running.note(chunk)
            return
        self.running.note(chunk)
        self._streams.spread(self._tenant_id, self._session_id, self.running, chunk)

    def close(self) -> None:
        """The turn is over (its stored message tells the rest)."""
        self.flush()
        self._streams.ended(self._tenant_id, self._session_id, self.running)


class Streams:
    """All sessions that somebody in this process watches or runs."""

    def __init__(self, history: History, saved: Saved | None = None) -> None:
        self._history = history
        self._saved = saved
        self._watches: dict[UUID, set[Watch]] = {}
        self._running: dict[UUID, Running] = {}
        self._joining: set[asyncio.Task[None]] = set()
        self._shared = False
        self.link: Link | None = None

    @property
    def shared(self) -> bool:
        """Whether other processes may watch or run our sessions; off, nothing goes to Redis."""
        return self._shared

    @shared.setter
    def shared(self, value: bool) -> None:
        began, self._shared = value and not self._shared, value
        if began and self._watches:
            task = asyncio.get_running_loop().create_task(self._join_others())
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)

    async def _join_others(self) -> None:
        """Another process has come: follow it for whoever watches here already.

        It may not know of us for a moment more and publish nothing until then, so we look twice.
        """
        for watch in [next(iter(watches)) for watches in self._watches.values()]:
            if self.link is not None:
                await self.link.follow(watch.tenant_id, watch.session_id)
        self.resync()
        await asyncio.sleep(_ACQUAINTED_SECONDS)
        self.resync()

    def resync(self) -> None:
        """Something may have been missed: let every watcher look at what is stored and running."""
        for watches in self._watches.values():
            for watch in watches:
                watch.put(Chunk("resync", {}))

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return sum(map(len, self._watches.values()))

    def publisher(
        self, tenant_id: UUID, session_id: UUID, *, turn_id: UUID, epoch: int, held: bool = False
    ) -> Publisher:
        """Start publishing a turn; `held`: nothing is shown before `release`."""
        return Publisher(self, tenant_id, session_id, turn_id=turn_id, epoch=epoch, held=held)

    def spread(self, tenant_id: UUID, session_id: UUID, running: Running, chunk: Chunk) -> None:
        """Hand a chunk of a turn that runs here to everybody who watches."""
        self._running[session_id] = running
        for watch in self._watches.get(session_id, ()):
            watch.put(chunk)
        if self.shared and self.link is not None:
            if not running.shared and chunk.index > 1:  # others come to know of it in the middle
                chunk = running.gap()
            running.shared = True
            self.link.send(tenant_id, session_id, [chunk])

    def ended(self, tenant_id: UUID, session_id: UUID, running: Running) -> None:
        """Forget a turn that ran here."""
        if self._running.get(session_id) is not running:
            return
        del self._running[session_id]
        if self.shared and self.link is not None:
            self.link.send(tenant_id, session_id, [Chunk("end", {}, running.epoch, running.index + 1)])

    def stored(self, tenant_id: UUID, session_id: UUID, chunk: Chunk) -> None:
        """Tell watchers of a message that was committed (a `message` chunk with its seq)."""
        for watch in self._watches.get(session_id, ()):
            watch.put(chunk)
        if self.shared and self.link is not None:
            self.link.send(tenant_id, session_id, [Chunk("stored", {"seq": chunk.seq}, seq=chunk.seq)])

    def tell(self, tenant_id: UUID, session_id: UUID, chunk: Chunk) -> None:
        """Tell watchers, here and elsewhere, of something that is no part of an answer and need not be repeated."""
        for watch in self._watches.get(session_id, ()):
            watch.put(chunk)
        if self.shared and self.link is not None:
            self.link.send(tenant_id, session_id, [chunk])

    def received(self, session_id: UUID, chunk: Chunk) -> None:
        """A chunk from another process."""
        for watch in self._watches.get(session_id, ()):
            watch.put(chunk)

    def moving(self) -> None:
        """Tell every watcher that this process is going away."""
        for watches in self._watches.values():
            for watch in watches:
                watch.put(Chunk("moving", {}))

    @asynccontextmanager
    async def watch(self, tenant_id: UUID, session_id: UUID, cursor: Cursor) -> AsyncIterator[Watch]:
        """Watch a session from `cursor`: first what was stored and said since, then what happens."""
        # Registered before anything is read, so nothing falls between the snapshot and the live events.
        watch = self.join(tenant_id, session_id, cursor)
        try:
            if self.link is not None and self.shared:
                await self.link.follow(tenant_id, session_id)
            watch.source = self._events(watch, self._catch_up(watch))
            yield watch
        finally:
            self.leave(watch)

    def join(self, tenant_id: UUID, session_id: UUID, cursor: Cursor) -> Watch:
        """Watch a session whose turn runs in this process, from now on; nothing is read. End it with `leave`."""
        watch = Watch(tenant_id, session_id, cursor)
        self._watches.setdefault(session_id, set()).add(watch)
        watch.source = self._events(watch, self._running_here(watch))
        return watch

    def leave(self, watch: Watch) -> None:
        """End a watch."""
        watches = self._watches.get(watch.session_id)
        if watches is None:
            return
        watches.discard(watch)
        if not watches:
            del self._watches[watch.session_id]
            if self.link is not None:
                self.link.unfollow(watch.tenant_id, watch.session_id)

    async def _events(self, watch: Watch, before: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        async for event in before:
            yield event
        while True:
            for chunk in await watch.take():
                async for event in self._taken(watch, chunk):
                    yield event

    async def _taken(self, watch: Watch, chunk: Chunk) -> AsyncIterator[StreamEvent]:
        """What one chunk shows, after whatever had to come before it."""
        before = self._before(watch, chunk)
        if before is not None:
            async for event in before:
                yield event
        shown = None if chunk.type in ("stored", "resync") else watch.advance(chunk)
        if shown is not None:
            yield shown

    def _before(self, watch: Watch, chunk: Chunk) -> AsyncIterator[StreamEvent] | None:
        if chunk.type == "resync":
            return self._catch_up(watch)
        if watch.misses(chunk):
            return self._filled(watch, chunk)
        if chunk.seq > watch.cursor.seq + (chunk.type == "message"):
            return self._stored_since(watch, chunk.seq)
        return None

    async def _filled(self, watch: Watch, chunk: Chunk) -> AsyncIterator[StreamEvent]:
        """Chunks before this one did not come: bring the watcher up to date, or stay silent until the stored answer."""
        running = await self._known(watch)
        if running is not None and running.epoch == chunk.epoch:
            for event in _brought_up(watch, running):
                yield event
        if watch.misses(chunk):
            watch.mute(chunk.epoch)

    async def _stored_since(self, watch: Watch, up_to: int) -> AsyncIterator[StreamEvent]:
        if up_to <= watch.cursor.seq:
            return
        for chunk in await self._history(watch.tenant_id, watch.session_id, watch.cursor.seq):
            event = watch.advance(chunk)
            if event is not None:
                yield event

    async def _catch_up(self, watch: Watch) -> AsyncIterator[StreamEvent]:
        started = watch.cursor
        for chunk in await self._history(watch.tenant_id, watch.session_id, started.seq):
            event = watch.advance(chunk)
            if event is not None:
                yield event
        for event in _brought_up(watch, await self._known(watch)):
            yield event

    async def _known(self, watch: Watch) -> Running | None:
        """The running answer: as it runs here, as Redis has it, or as it was last stored and Redis goes on with it."""
        running = self._running.get(watch.session_id)
        if running is not None or not self.shared:
            return running
        if self.link is not None:
            running = await self.link.backlog(watch.tenant_id, watch.session_id)
        if running is not None and running.whole:
            return running
        saved = await self._saved(watch.tenant_id, watch.session_id) if self._saved is not None else None
        return continued(saved, running)

    async def _running_here(self, watch: Watch) -> AsyncIterator[StreamEvent]:
        for event in _brought_up(watch, self._running.get(watch.session_id)):
            yield event


def _shown(status: Status) -> dict[str, str]:
    """A status with words for people: a tool's name reads better without its underscores."""
    found = {"state": status.state, "detail": status.detail, "label": status.detail.replace("_", " ").strip()}
    if status.phase:
        found |= {"phase": status.phase, "call": status.call}
    return found


def _brought_up(watch: Watch, running: Running | None) -> list[StreamEvent]:
    """The running answer, from where the watcher is."""
    if running is None or not running.index:
        return []
    events = (watch.advance(chunk) for chunk in _missed(running, watch.cursor))
    return [event for event in events if event is not None]


def _missed(running: Running, cursor: Cursor) -> list[Chunk]:
    """What brings a watcher at `cursor` up to the running answer."""
    if cursor.epoch == running.epoch:
        since = running.since(cursor.index)
        if since is not None:
            return since
        return [running.gap()]
    first: list[Chunk] = []
    if 0 < cursor.epoch < running.epoch:
        first.append(Chunk("reset", {"turn_id": running.turn_id}, running.epoch, 0))
    elif cursor.epoch > running.epoch:
        return []
    since = running.since(0)
    if since is not None:
        return first + since
    return [*first, running.gap()]
