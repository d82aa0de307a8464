"""The chat doors open in this process: how many, who is silent, and what they are told when the process goes.

One timer looks after all of them, so an idle socket costs no timer of its own.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol
from uuid import UUID

import structlog

from hub.edges.guard import Refused
from hub.runtime import Runtime, current_runtime

log = structlog.get_logger(__name__)

MAX_OPEN: Final = 20_000
MAX_OF_CONNECTION: Final = 10_000
MAX_OF_VISITOR: Final = 20
TICK_SECONDS: Final = 5.0
LEAVE_SECONDS: Final = 3.0
"""How long clients that were told `moving` get to leave by themselves."""
RATE_BURST: Final = 10.0
RATE_PER_SECOND: Final = 1.0
MAX_RATED: Final = 50_000


class Door(Protocol):
    """One open socket or event stream."""

    def look(self, now: float) -> None:
        """Called every few seconds on the monotonic clock: ping, or close what gives no sign of life."""

    async def move(self) -> None:
        """Tell the client to come back elsewhere with its cursor, then close (after the running answer, if it can)."""


class Doors:
    """All open doors of the process."""

    def __init__(self) -> None:
        self._open: dict[Door, tuple[UUID, str]] = {}
        self._counts: Counter[tuple[UUID, str]] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._told: Runtime | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Door]:
        return iter(tuple(self._open))

    @property
    def full(self) -> bool:
        """Whether another door may not be opened."""
        runtime = current_runtime()
        return len(self._open) >= MAX_OPEN or (runtime is not None and runtime.draining)

    def admit(self, connection_id: UUID | None = None) -> None:
        """Raises Refused (503) when no further door may be opened, or none of this connection."""
        crowded = connection_id is not None and self._counts[connection_id, ""] >= MAX_OF_CONNECTION
        if self.full or crowded:
            raise Refused(503, "unavailable", "please try again elsewhere", wait=1.0)

    def seat(self, door: Door, visitor: str) -> None:
        """Note whose page this is. Raises Refused (429) when the visitor has too many open."""
        connection_id, before = self._open[door]
        if before == visitor:
            return
        if self._counts[connection_id, visitor] >= MAX_OF_VISITOR:
            raise Refused(429, "too_many_pages", "too many pages of this chat are open", wait=60.0)
        self._count(connection_id, before, -1)
        self._count(connection_id, visitor, 1)
        self._open[door] = connection_id, visitor

    def _count(self, connection_id: UUID, visitor: str, change: int) -> None:
        # An empty visitor is the connection itself, which `enter` and `leave` count.
        if visitor:
            self._add((connection_id, visitor), change)

    def _add(self, key: tuple[UUID, str], change: int) -> None:
        self._counts[key] += change
        if self._counts[key] <= 0:
            del self._counts[key]

    def enter(self, door: Door, connection_id: UUID) -> None:
        """Note an open door."""
        self._open[door] = connection_id, ""
        self._add((connection_id, ""), 1)
        runtime = current_runtime()
        if runtime is not None and runtime is not self._told:
            runtime.leaving.append(self.drain)
            runtime.link.began = ARRIVALS.tell
            self._told = runtime
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def leave(self, door: Door) -> None:
        """Forget a closed one."""
        found = self._open.pop(door, None)
        if found is not None:
            self._add((found[0], ""), -1)
            self._count(*found, -1)

    def _tick(self) -> None:
        self._timer = None
        now = time.monotonic()
        for door in tuple(self._open):
            door.look(now)
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    async def drain(self, seconds: float) -> int:
        """Tell everybody to move and wait until they are gone; how many were still here at the end."""
        moves = [asyncio.ensure_future(door.move()) for door in tuple(self._open)]
        if moves:
            log.info("doors_moving", doors=len(moves))
            _, late = await asyncio.wait(moves, timeout=max(seconds, 0.1))
            for move in late:
                move.cancel()
        return len(self._open)


class Rates:
    """How often somebody may do something: a bucket each, the least recently used beyond 50 000 forgotten."""

    def __init__(self, *, burst: float = RATE_BURST, per_second: float = RATE_PER_SECOND) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: OrderedDict[tuple[UUID, str], tuple[float, float]] = OrderedDict()

    def spend(self, connection_id: UUID, who: str) -> None:
        """Count one. Raises Refused (429) with the wait."""
        left, now = self._left(connection_id, who)
        self._buckets.pop((connection_id, who), None)
        self._buckets[connection_id, who] = (max(left - 1.0, 0.0) if left >= 1.0 else left, now)
        if len(self._buckets) > MAX_RATED:
            self._buckets.popitem(last=False)
        self._check(left)

    def check(self, connection_id: UUID, who: str) -> None:
        """Raises Refused (429) where `spend` would; counts nothing."""
        self._check(self._left(connection_id, who)[0])

    def _left(self, connection_id: UUID, who: str) -> tuple[float, float]:
        now = time.monotonic()
        left, since = self._buckets.get((connection_id, who), (self._burst, now))
        return min(self._burst, left + (now - since) * self._per_second), now

    def _check(self, left: float) -> None:
        if left < 1.0:
            raise Refused(429, "rate_limited", "slow down a little", wait=(1.0 - left) / self._per_second)


class Arrivals:
    """Tells a visitor's open doors of this process that a session began, here or in another process."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[UUID, str], list[Callable[[UUID], None]]] = {}

    @contextmanager
    def expect(self, connection_id: UUID, visitor: str) -> Iterator["asyncio.Future[UUID]"]:
        """A future that gets the session's id."""
        future: asyncio.Future[UUID] = asyncio.get_running_loop().create_future()

        def told(session_id: UUID) -> None:
            if not future.done():
                future.set_result(session_id)

        self.listen(connection_id, visitor, told)
        try:
            yield future
        finally:
            self.forget(connection_id, visitor, told)
            future.cancel()

    def listen(self, connection_id: UUID, visitor: str, told: Callable[[UUID], None]) -> None:
        """Call `told` with the id of each session that begins, perhaps more than once, until `forget`."""
        self._listeners.setdefault((connection_id, visitor), []).append(told)

    def forget(self, connection_id: UUID, visitor: str, told: Callable[[UUID], None]) -> None:
        """Call it no longer."""
        key = (connection_id, visitor)
        left = [other for other in self._listeners.get(key, ()) if other != told]
        if left:
            self._listeners[key] = left
        else:
            self._listeners.pop(key, None)

    def tell(self, connection_id: UUID, visitor: str, session_id: UUID) -> None:
        """A session began."""
        for told in tuple(self._listeners.get((connection_id, visitor), ())):
            told(session_id)


ARRIVALS: Final = Arrivals()
DOORS: Final = Doors()
RATES: Final = Rates()
"""Messages of a visitor."""
LOOKS: Final = Rates(burst=30.0, per_second=5.0)
"""Looks back and read positions of a visitor."""
FILES: Final = Rates(burst=10.0, per_second=0.2)
"""Uploads of a visitor."""
OPENINGS: Final = Rates(burst=60.0, per_second=10.0)
"""What an address asks before it is a visitor."""
FALSE_NAMES: Final = Rates(burst=5.0, per_second=0.1)
"""Identity tokens of an address that were not accepted; others do not count."""
