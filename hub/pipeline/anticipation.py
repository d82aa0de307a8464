"""Model calls that begin while their message still commits; nothing of them is shown before it has."""

import asyncio
from collections.abc import Callable, Container, Coroutine
from typing import Any
from uuid import UUID

from hub.ledger.accept import Accept
from hub.ledger.claim import Claimed
from hub.pipeline.bodies import Body
from hub.pipeline.connections import LiveConnection
from hub.pipeline.run import Run
from hub.pipeline.turns import Turns

Early = tuple[Run, "asyncio.Task[None]"]


class Anticipation:
    """The early calls of this process: at most `most`, none for a session in `busy`.

    What is stopped is cleared up by `behind`, so that nobody waits for it.
    """

    def __init__(
        self,
        turns: Turns,
        *,
        most: int,
        busy: Container[UUID],
        behind: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._turns, self._most, self._busy, self._behind = turns, most, busy, behind
        self._early: dict[UUID, Early] = {}

    def begin(self, connection: LiveConnection, row: Accept, body: Body) -> UUID | None:
        """Start the model call of a warm session's turn. Returns the turn, None where nothing was started."""
        place = self._turns.places.get(row.connection_id, row.address_hash)
        if place is None or row.runner is None or not row.answer or place.session_id in self._busy:
            return None
        if not self._turns.is_warm(place) or len(self._early) >= self._most:
            return None
        run = self._turns.guess(connection, row, body, place)
        self._early[row.turn_id] = (run, asyncio.get_running_loop().create_task(self._turns.early(run)))
        return row.turn_id

    def take(self, claimed: Claimed) -> Early | None:
        """What was started for this turn, if it was guessed right; a wrong guess is stopped."""
        early = self._early.pop(claimed.turn_id, None)
        if early is None or early[0].fits(claimed):
            return early
        self._discard(*early)
        return None

    def forget(self, turn_id: UUID) -> None:
        """Stop what was started for this turn and not taken."""
        early = self._early.pop(turn_id, None)
        if early is not None:
            self._discard(*early)

    def _discard(self, run: Run, task: "asyncio.Task[None]") -> None:
        self._behind(self._turns.discard(run, task))
