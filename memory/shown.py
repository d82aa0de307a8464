"""Which subjects have nothing to recall: all that is remembered of them stands in one session's prompt already."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from memory.types import Exchange, Key

SECONDS = 5.0
"""How long other processes' lines may stay unseen."""
MOST = 20_000
_NO_LINE = 1 << 62


@dataclass(slots=True)
class _Entry:
    """What is known of a subject; with `until` at zero only who appended lately, which a look under way has missed."""

    session_id: UUID | None
    """The only session that lines were seen of; None where there were several."""
    lowest: int
    changed: float
    until: float = 0.0


class Shown:
    """One per process, bounded; forgetting an entry costs one look at the store.

    A look notes what it found; lines of another session, and batches, make that void. They may be appended while a look
    is under way that does not see them, so a look that began before such a change notes nothing.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._entries: OrderedDict[tuple[UUID, UUID], _Entry] = OrderedDict()

    def now(self) -> float:
        """The moment to hand to `note`, taken before the store is asked."""
        return self._clock()

    def covers(self, key: Key, shown_from: int) -> bool:
        """Whether the session's lines from `shown_from` on are known to be all that the subject has."""
        entry = self._entries.get((key.tenant_id, key.subject_id))
        if entry is None or entry.session_id != key.session_id:
            return False
        return entry.until > self._clock() and shown_from <= entry.lowest

    def covered(self, key: Key) -> bool:
        """Whether that was so when somebody last looked, however long ago: then it is likely to be so again."""
        entry = self._entries.get((key.tenant_id, key.subject_id))
        return entry is not None and entry.session_id == key.session_id and entry.until > 0

    def note(self, key: Key, *, lowest: int | None, looked: float) -> None:
        """A look that began at `looked` found lines of this session only, from `lowest` on (None: no line at all)."""
        name = (key.tenant_id, key.subject_id)
        entry = self._entries.get(name)
        changed = 0.0
        first = _NO_LINE if lowest is None else lowest
        if entry is not None:
            if entry.session_id != key.session_id and entry.changed >= looked:
                return
            if entry.session_id == key.session_id:
                first, changed = min(first, entry.lowest), entry.changed
        self._put(name, _Entry(key.session_id, first, changed, looked + SECONDS))

    def meet(self, key: Key) -> None:
        """There was no such subject a moment ago. What is known of it by now counts more."""
        name = (key.tenant_id, key.subject_id)
        if name not in self._entries:
            self._put(name, _Entry(key.session_id, _NO_LINE, 0.0, self._clock() + SECONDS))

    def appended(self, exchange: Exchange) -> None:
        """Lines were written, or are about to be. To be told before the commit and after it."""
        key = exchange.key
        name = (key.tenant_id, key.subject_id)
        entry = self._entries.get(name)
        first = min((line.seq for line in exchange.lines), default=_NO_LINE)
        if exchange.batch is not None or (entry is not None and entry.session_id != key.session_id):
            self._put(name, _Entry(None, 0, self._clock()))
        elif entry is None:
            self._put(name, _Entry(key.session_id, first, self._clock()))
        else:
            entry.lowest, entry.changed = min(entry.lowest, first), self._clock()

    def void(self, tenant_id: UUID, subject_id: UUID) -> None:
        """Lines of other sessions became the subject's: nothing that was seen before counts."""
        self._put((tenant_id, subject_id), _Entry(None, 0, self._clock()))

    def _put(self, name: tuple[UUID, UUID], entry: _Entry) -> None:
        self._entries[name] = entry
        self._entries.move_to_end(name)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
