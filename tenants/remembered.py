"""What was read is remembered for some seconds: one read at a time per key, a new one before anybody has to wait."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

RENEWED_FROM: Final = 0.6
"""The share of its life from which on a value that is asked for is read again, beside those who ask."""


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    renew: float
    until: float


class Remembered(Generic[K, V]):
    """A bounded read-through cache of one process.

    No value is older than `seconds` (`missing_seconds` for None), counted from when its read began. Whoever asks during
    a read waits for that one and shares its error; a value in steady use is renewed in time, and nobody waits for it.
    """

    def __init__(
        self,
        *,
        seconds: float,
        missing_seconds: float | None = None,
        most: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._missing_seconds = seconds if missing_seconds is None else missing_seconds
        self._most, self._clock = most, clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._reading: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, read: Callable[[], Awaitable[V]]) -> V:
        """The value, by `read` where it is not known. Raises what `read` raises, which is not remembered."""
        entry, now = self._entries.get(key), self._clock()
        if entry is None or entry.until <= now:
            return await asyncio.shield(self._reading.get(key) or self._begin(key, read, now))
        if entry.renew <= now and key not in self._reading:
            self._begin(key, read, now)
        self._entries.move_to_end(key)
        return entry.value

    def forget(self, key: K) -> None:
        """It has changed: whoever asks from now on has it read again, also when a read is under way."""
        self._entries.pop(key, None)
        self._reading.pop(key, None)

    def forget_where(self, changed: Callable[[K, V], bool]) -> None:
        """As `forget`, for all keys whose value `changed` says yes to. What is being read might be one of them."""
        for key in [key for key, entry in self._entries.items() if changed(key, entry.value)]:
            del self._entries[key]
        self._reading.clear()

    def _begin(self, key: K, read: Callable[[], Awaitable[V]], now: float) -> asyncio.Task[V]:
        task = self._reading[key] = asyncio.get_running_loop().create_task(self._read(key, read, now))
        task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def _read(self, key: K, read: Callable[[], Awaitable[V]], began: float) -> V:
        value = await read()
        known = self._entries.get(key)
        if known is not None and known.value == value:
            value = known.value  # what was derived from it by identity stays good
        if self._reading.get(key) is asyncio.current_task():  # else it may have been read before it was changed
            self._keep(key, value, began)
        return value

    def _keep(self, key: K, value: V, began: float) -> None:
        life = self._missing_seconds if value is None else self.seconds
        self._entries[key] = _Entry(value, began + RENEWED_FROM * life, began + life)
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def _ended(self, key: K, done: asyncio.Task[V]) -> None:
        if self._reading.get(key) is done:
            del self._reading[key]
        if not done.cancelled():
            done.exception()  # whoever waited has it; who did not asks again when the value is too old
