"""One turn at work in a process: what is known of it from its lease to its commit."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from agents.types import TurnInput, TurnResult
from channels_adapters.types import Address
from hub.ledger.claim import Claimed
from hub.pipeline.bodies import Body, unpack_address
from hub.pipeline.connections import LiveConnection
from tenants.ids import uuid7

if TYPE_CHECKING:
    from hub.pipeline.live import LiveWriter, Shown
    from hub.pipeline.streams import Publisher

MOST_ATTEMPTS = 5
"""A turn that was begun so often and never ended is given up."""


class Fenced(Exception):
    """Somebody else holds the session now: nothing of this run counts."""


@dataclass(slots=True)
class Run:
    """One turn at work in this process."""

    claimed: Claimed
    connection: LiveConnection
    started: float = field(default_factory=time.monotonic)
    input: TurnInput | None = None
    result: TurnResult | None = None
    bodies: Sequence[Body] = ()
    publisher: "Publisher | None" = None
    message_id: UUID = field(default_factory=uuid7)
    first_token: datetime | None = None
    live: "LiveWriter | None" = None
    shown: "Shown | None" = None
    """What is visible on the platform when the turn ends."""
    adopted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set for a guessed run once its message is committed."""
    renews: bool = False
    """Its commit begins the session's next generation."""
    stopping: bool = False
    ending: bool = False
    """Its commit is under way: the fence decides now, and a cancelled task could not send what is committed."""
    committed: bool = False
    """The turn's end is stored: its lease is over, and that is no loss."""

    def fits(self, claimed: Claimed) -> bool:
        """Whether a guessed run is the one that was leased."""
        mine = self.claimed
        return (mine.session_id, mine.version, mine.messages, mine.attempts, mine.kind) == (
            claimed.session_id,
            claimed.version,
            tuple(claimed.messages),
            claimed.attempts,
            claimed.kind,
        )

    @property
    def held_until(self) -> datetime | None:
        """Until when a response waits for this turn's answer; None when nobody does (any more)."""
        hold = self.bodies[-1].hold if self.bodies else 0.0
        return datetime.fromtimestamp(hold, UTC) if hold > time.time() else None

    @property
    def address(self) -> Address:
        """Where this turn's answer goes: the address of the last message it answers."""
        for body in reversed(self.bodies):
            if body.address:
                return unpack_address(body.address)
        return Address(conversation="")
