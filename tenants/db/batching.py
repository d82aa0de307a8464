"""Group commit without a timer: what queued while the last commit ran goes into the next one.

A lane is one writer. Items with the same lane key always meet the same writer, so their order of submission is their
order of commit. The queue is bounded in items and bytes; a full one refuses at once instead of growing. Items may name
whose they are: nobody fills the queue for the others.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST_TICKS = 16
"""Turns of the event loop that a batch waits at most, and only while each brings more."""

Flush = Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]]


class Overloaded(Exception):
    """The queue is full; try again after `retry_after` seconds."""

    def __init__(self, retry_after: float = 1.0) -> None:
        super().__init__("the write queue is full")
        self.retry_after = retry_after


class Closed(Exception):
    """The batcher was closed while the item waited; nothing was written."""


@dataclass(slots=True)
class _Waiting(Generic[T, R]):
    item: T
    size: int
    owner: Hashable
    future: "asyncio.Future[R]"


@dataclass(slots=True)
class _Share:
    """What of a queue is one owner's."""

    items: int = 0
    bytes: int = 0


class _Lane(Generic[T, R]):
    """One queue and the one task that empties it."""

    def __init__(self, flush: Flush[T, R], max_items: int, max_bytes: int) -> None:
        self._flush = flush
        self._max_items = max_items
        self._max_bytes = max_bytes
        self.queue: deque[_Waiting[T, R]] = deque()
        self.bytes = 0
        self._shares: dict[Hashable, _Share] = {}
        self._task: asyncio.Task[None] | None = None

    def put(self, waiting: _Waiting[T, R]) -> None:
        self.queue.append(waiting)
        self.bytes += waiting.size
        share = self._shares.setdefault(waiting.owner, _Share())
        share.items += 1
        share.bytes += waiting.size
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def has_room(self, owner: Hashable, items: int, size: int) -> bool:
        """Whether `owner` may add to a queue of so many items and bytes: it may have a quarter of them, or three while
        nobody else waits, so that whoever comes next finds room.
        """
        if len(self.queue) >= items or self.bytes >= size:
            return False
        share = self._shares.get(owner)
        if share is None or owner is None:
            return True
        quarters = 3 if len(self._shares) == 1 else 1
        return share.items * 4 < items * quarters and share.bytes * 4 < size * quarters

    async def _run(self) -> None:
        while self.queue:
            await self._gather()
            batch = self._take()
            try:
                results = await self._flush([waiting.item for waiting in batch])
            except BaseException as error:  # cancelled too: who waits for this batch must hear of it
                _settle(batch, [error] * len(batch))
                if not isinstance(error, Exception):
                    raise
                continue
            _settle(batch, results)

    async def _gather(self) -> None:
        """Let what is ready on the loop already join: requests that came in together leave together, and cost less."""
        for _ in range(_MOST_TICKS):
            seen = len(self.queue)
            await asyncio.sleep(0)
            if len(self.queue) == seen or seen >= self._max_items:
                return

    def _take(self) -> list[_Waiting[T, R]]:
        batch = [self.queue.popleft()]
        size = batch[0].size
        while self.queue and len(batch) < self._max_items and size + self.queue[0].size <= self._max_bytes:
            size += self.queue[0].size
            batch.append(self.queue.popleft())
        self.bytes -= size
        for waiting in batch:
            share = self._shares[waiting.owner]
            share.items -= 1
            share.bytes -= waiting.size
            if not share.items:
                del self._shares[waiting.owner]
        return batch

    async def drain(self) -> None:
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])


def _settle(batch: Sequence[_Waiting[T, R]], results: Sequence[R | BaseException]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if waiting.future.done():  # its caller went away; the row is written all the same
            continue
        if isinstance(result, BaseException):
            waiting.future.set_exception(result)
        else:
            waiting.future.set_result(result)


class Batcher(Generic[T, R]):
    """Collects items and writes them together; `flush` answers item by item, an exception standing for its item."""

    def __init__(
        self,
        flush: Flush[T, R],
        *,
        lanes: int = 1,
        max_items: int = 256,
        max_bytes: int = 1 << 20,
        capacity: int = 4096,
        capacity_bytes: int = 32 << 20,
    ) -> None:
        self._lanes: list[_Lane[T, R]] = [_Lane(flush, max_items, max_bytes) for _ in range(lanes)]
        self._capacity, self._capacity_bytes = capacity, capacity_bytes
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many items wait for a writer."""
        return sum(len(lane.queue) for lane in self._lanes)

    def enqueue(self, item: T, *, lane: int = 0, size: int = 0, owner: Hashable = None) -> "asyncio.Future[R]":
        """Put an item in line without waiting; raises Overloaded (also for this owner alone) or Closed at once."""
        if self._closed:
            raise Closed
        chosen = self._lanes[lane % len(self._lanes)]
        if not chosen.has_room(owner, self._capacity, self._capacity_bytes):
            raise Overloaded
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        chosen.put(_Waiting(item, size, owner, future))
        return future

    async def submit(self, item: T, *, lane: int = 0, size: int = 0) -> R:
        """Write an item with whatever else is waiting and return its own result."""
        return await self.enqueue(item, lane=lane, size=size)

    async def close(self) -> None:
        """Take nothing more, write what waits."""
        self._closed = True
        for lane in self._lanes:
            await lane.drain()
