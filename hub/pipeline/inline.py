"""Answers that go out in the response which waits for them, wherever their turn ran.

The accept notes in the message until when a response is held (`Body.hold`); the commit stores the parts as pending and
not due before that. Who holds the response takes them by compare-and-set, marked as given inline, answers, and settles.
What is not taken in time is delivered as usual; what was taken by a process that then died is unknown, and the
connection's policy decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from hub.ledger.settle import Settle, Settler
from hub.pipeline.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Taken:
    """The parts of an answer that this process gives in a response; none where it only repeats one."""

    deliveries: Sequence[UUID]
    session_id: UUID


class Inline:
    """Takes answers out of the outbox for responses."""

    def __init__(self, settler: Settler, outbox: Outbox) -> None:
        self._settler, self._outbox = settler, outbox

    async def take(self, session_id: UUID, turn_id: UUID) -> Taken | None:
        """The turn's answer for a response, None where it goes out in another way.

        An answer that was given in a response before may be given again: who asks again did not get it.
        """
        given, taken = await self._settler.take_inline(session_id, turn_id)
        return Taken(taken, session_id) if given or taken else None

    def sent(self, taken: Taken) -> None:
        """The response is out; that is recorded behind it."""
        for delivery_id in taken.deliveries:
            self._outbox.settle_soon(Settle(delivery_id=delivery_id, session_id=taken.session_id, status="sent"))
