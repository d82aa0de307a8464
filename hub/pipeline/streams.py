"""The process's streams: one publisher per running turn, local fan-out, and Redis where other processes watch.

Nothing here must survive: a lost chunk is answered by an honest gap with the text saved so far.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import UUID

from agents.types import Progress, Restarted, Status, TextDelta
from hub.pipeline.stream import Chunk, Cursor, Running, Watch, continued
from hub.pipeline.watch_events import History, Seen, WatchEvents


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
        self._loop = asyncio.get_running_loop()  # asking for it anew costs a system call, with every piece
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
                soon = self._next <= self._loop.time()
                self._timer = self._loop.call_soon(self.flush) if soon else self._loop.call_at(self._next, self.flush)
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
            self._next = self._loop.time() + STEP_SECONDS
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

    def __init__(self, history: History, *, saved: Saved | None = None, seen: Seen | None = None) -> None:
        self._saved = saved
        self._events = WatchEvents(history, self._known, seen)
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
        """Tell watchers, here and elsewhere, of something that is no part of an answer and need not be repeated.

        Whoever may have missed it is told by `resync` how things stand.
        """
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
            watch.source = self._events.from_stored(watch)
            yield watch
        finally:
            self.leave(watch)

    def join(self, tenant_id: UUID, session_id: UUID, cursor: Cursor) -> Watch:
        """Watch a session whose turn runs in this process, from now on; nothing is read. End it with `leave`."""
        watch = Watch(tenant_id, session_id, cursor)
        self._watches.setdefault(session_id, set()).add(watch)
        watch.source = self._events.from_running(watch, lambda: self._running.get(session_id))
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

    async def _known(self, tenant_id: UUID, session_id: UUID) -> Running | None:
        """The running answer: as it runs here, as Redis has it, or as it was last stored and Redis goes on with it."""
        running = self._running.get(session_id)
        if running is not None or not self.shared:
            return running
        if self.link is not None:
            running = await self.link.backlog(tenant_id, session_id)
        if running is not None and running.whole:
            return running
        saved = await self._saved(tenant_id, session_id) if self._saved is not None else None
        return continued(saved, running)


def _shown(status: Status) -> dict[str, str]:
    """A status with words for people: a tool's name reads better without its underscores."""
    found = {"state": status.state, "detail": status.detail, "label": status.detail.replace("_", " ").strip()}
    if status.phase:
        found |= {"phase": status.phase, "call": status.call}
    return found
