"""Traffic as platforms make it: many conversations, repeated and reordered webhooks; and an account of what became of it.

plan = Traffic.make(messages=600, conversations=40, seed=1)
await plan.send(deliver)                       # deliver(number, conversation, text) for every webhook, 32 at once
account(rows, shown)                           # raises AssertionError with the first thing that is wrong
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

Deliver = Callable[[int, str, str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One delivery; equal numbers are redeliveries."""

    number: int
    conversation: str
    text: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """The webhooks in the order of their arrival."""

    webhooks: Sequence[Webhook]
    messages: int

    @classmethod
    def make(cls, *, messages: int, conversations: int, seed: int, repeated: float = 1 / 3) -> "Traffic":
        """`messages` different messages; a share of them comes again, and neighbours change places."""
        chance = random.Random(seed)
        first = [Webhook(n, f"c{chance.randrange(conversations)}", f"message {n}") for n in range(messages)]
        again = chance.sample(first, int(messages * repeated))
        places = [(n + chance.uniform(0, 20), item) for n, item in enumerate(first)]
        places += [(item.number + chance.uniform(0, 200), item) for item in again]
        return cls([item for _, item in sorted(places, key=lambda place: place[0])], messages)

    async def send(self, deliver: Deliver, *, at_once: int = 32) -> None:
        """Deliver everything, in this order, so many at a time."""
        waiting = iter(self.webhooks)

        async def one() -> None:
            for webhook in waiting:
                await deliver(webhook.number, webhook.conversation, webhook.text)

        await asyncio.gather(*(one() for _ in range(at_once)))


MESSAGES = """
SELECT m.session_id, m.seq, m.role, m.status, m.turn_id, t.status, t.first_seq, t.last_seq
FROM message m LEFT JOIN turn t ON t.id = m.turn_id ORDER BY m.session_id, m.seq
"""
"""What `account` asks the database for."""

Row = tuple[UUID, int, str, str, UUID | None, str | None, int | None, int | None]


def account(rows: Sequence[Row], *, messages: int) -> Mapping[UUID, int]:
    """Each message in exactly one finished turn, one reply per turn, replies in the order of acceptance.

    Returns the number of turns per session.
    """
    asked = [row for row in rows if row[2] == "user"]
    replies = [row for row in rows if row[2] == "assistant"]
    assert len(asked) == messages, f"{len(asked)} stored of {messages}"
    wrong = [row for row in asked if row[3] != "accepted" or row[5] != "finished"]
    assert not wrong, f"not answered: {wrong[:3]}"
    turns = {row[4] for row in asked}
    answered = [row[4] for row in replies]
    assert len(answered) == len(set(answered)), "a turn has two replies"
    assert set(answered) == turns, "a turn has no reply, or a reply no message"
    last: dict[UUID, int] = {}
    counts: dict[UUID, int] = {}
    for session_id, seq, _, _, _, _, first, until in replies:
        assert first is not None and until is not None
        assert first > last.get(session_id, 0), f"replies of {session_id} are out of order at {seq}"
        assert seq > until, "a reply comes before what it answers"
        last[session_id] = until
        counts[session_id] = counts.get(session_id, 0) + 1
    return counts
