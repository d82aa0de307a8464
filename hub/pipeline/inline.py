"""Doors that hold a response open for the answer: what goes out that way is not sent a second time.

A turn of this process that finds its door waiting hands the answer over and makes no delivery. A turn elsewhere knows
nothing of the door and delivers as usual; the door then answers without it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID


@dataclass(slots=True)
class Waiting:
    """One held response. `handed` is set when its answer will come this way and no other."""

    handed: bool = False


class Inline:
    """The held responses of this process, by connection and the platform's id of the message; one per open request."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[UUID, str], Waiting] = {}

    @contextmanager
    def hold(self, connection_id: UUID, external_id: str) -> Iterator[Waiting]:
        """Wait for the answer to a message that is about to be accepted; the second of two requests only looks on."""
        waiting, key = Waiting(), (connection_id, external_id)
        first = self._waiting.setdefault(key, waiting)
        try:
            yield waiting
        finally:
            if first is waiting:
                del self._waiting[key]

    def hand_over(self, connection_id: UUID, external_ids: Iterable[str]) -> bool:
        """Whether a held response takes the answer to the last of these messages."""
        last = next(reversed(list(external_ids)), "")
        waiting = self._waiting.get((connection_id, last))
        if waiting is None:
            return False
        waiting.handed = True
        return True
