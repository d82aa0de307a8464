"""What a watcher is shown: the chunks that it takes, and before each whatever has to come first.

Chunks may be lost on their way, messages may be known by their number alone, and a newcomer has seen nothing: what is
stored and what is known of the running answer is looked up then, and told once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from uuid import UUID

from hub.pipeline.stream import Chunk, Cursor, Running, StreamEvent, Watch

History = Callable[[UUID, UUID, int], Awaitable[Sequence[Chunk]]]
"""Stored messages of (tenant, session) after a seq, oldest first, as `message` chunks."""

Known = Callable[[UUID, UUID], Awaitable[Running | None]]
"""The running answer of (tenant, session) as far as anybody can tell it now."""

Seen = Callable[[UUID, UUID], Awaitable[int]]
"""The seq up to which the visitor of (tenant, session) has read."""


class WatchEvents:
    """Makes a watch's events of its chunks."""

    def __init__(self, history: History, known: Known, seen: Seen | None) -> None:
        self._history = history
        self._known = known
        self._seen = seen

    def from_stored(self, watch: Watch) -> AsyncIterator[StreamEvent]:
        """Everything after the watch's cursor: stored, running, then as it happens."""
        return self._events(watch, self._catch_up(watch))

    def from_running(self, watch: Watch, running: Callable[[], Running | None]) -> AsyncIterator[StreamEvent]:
        """The answer that runs in this process when the reading begins, then what happens; nothing is looked up."""
        return self._events(watch, _now(watch, running))

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
            return self._caught_up_again(watch)
        if watch.misses(chunk):
            return self._filled(watch, chunk)
        if chunk.seq > watch.cursor.seq + (chunk.type == "message"):
            return self._stored_since(watch, chunk.seq)
        return None

    async def _filled(self, watch: Watch, chunk: Chunk) -> AsyncIterator[StreamEvent]:
        """Chunks before this one did not come: bring the watcher up to date, or stay silent until the stored answer."""
        running = await self._known(watch.tenant_id, watch.session_id)
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
        for event in _brought_up(watch, await self._known(watch.tenant_id, watch.session_id)):
            yield event

    async def _caught_up_again(self, watch: Watch) -> AsyncIterator[StreamEvent]:
        """What was told meanwhile is not numbered: how far the visitor has read is said as it stands now."""
        async for event in self._catch_up(watch):
            yield event
        seen = await self._seen(watch.tenant_id, watch.session_id) if self._seen is not None else 0
        if seen:
            yield StreamEvent(watch.cursor, "read", {"seq": seen})


async def _now(watch: Watch, running: Callable[[], Running | None]) -> AsyncIterator[StreamEvent]:
    for event in _brought_up(watch, running()):
        yield event


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
