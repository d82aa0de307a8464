"""The durable ledger of tool calls with effects: intent before, result after; a finished call is never repeated."""

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

import orjson

from agents.tools.base import Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Which call: the model's ids change when a turn is run again, so a call is known by what it asks.

    `ordinal` tells equal calls of one turn apart, in the order in which they are asked.
    """

    tenant_id: UUID
    turn_id: UUID
    name: str
    effect: Effect
    arguments: str
    ordinal: int

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that equal calls share, however the model spaced or ordered its JSON."""
        try:
            plain = orjson.dumps(orjson.loads(self.arguments or "{}"), option=orjson.OPT_SORT_KEYS)
        except orjson.JSONDecodeError:
            plain = self.arguments.encode("utf-8", "replace")
        return hashlib.sha256(self.name.encode() + b"\0" + plain).digest()


@dataclass(frozen=True, slots=True)
class Prior:
    """What the ledger knew: nothing (`new`), a finished call with its result, or an intent without one (`open`)."""

    state: Literal["new", "done", "open"]
    row_id: UUID
    result: str = ""


class Ledger(Protocol):
    """Where intents and results are kept."""

    async def begin(self, claim: Claim) -> Prior:
        """Write the intent durably, or say what is known of this call already."""

    async def finish(self, claim: Claim, prior: Prior, result: str) -> None:
        """Write the result durably."""
