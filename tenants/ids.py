"""The one place where ids are minted: UUID version 7 (RFC 9562), time-ordered and never repeated in a process."""

import os
import threading
import time
from datetime import UTC, datetime
from uuid import UUID

_lock = threading.Lock()
_last = 0  # 60 bits: milliseconds << 12 | counter

os.register_at_fork(after_in_child=lambda: globals().__setitem__("_lock", threading.Lock()))


def uuid7() -> UUID:
    """A new id: 48 bits of unix milliseconds, a 12-bit counter within the millisecond, 62 random bits.

    Strictly increasing within a process, also when the wall clock steps back. Order between processes is only
    as good as their clocks, so order is never taken from ids: `message.seq` decides.
    """
    global _last
    now = (time.time_ns() // 1_000_000) << 12
    with _lock:
        _last = now if now > _last else _last + 1
        stamp = _last
    milliseconds, counter = stamp >> 12, stamp & 0xFFF
    rand = int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (counter << 64) | (0x2 << 62) | rand)


def floor(moment: datetime) -> UUID:
    """The smallest id of `moment`: the bound of an id-ranged partition."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (0x2 << 62))


def minted_at(value: UUID) -> datetime:
    """When an id was minted, to the millisecond."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, tz=UTC)
