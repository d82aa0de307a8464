"""What agents need of the layers below, so that they can be built and tested against small parts."""

from collections.abc import Sequence
from typing import Any, Protocol

from psycopg import AsyncConnection

from memory.types import Batch, Buffer, Exchange, Key, Line, Policy, Recall


class Memory(Protocol):
    """Class `memory.memory.Memory`, as far as a turn uses it."""

    async def peek(self, key: Key) -> Buffer | None:
        """The session's buffer as Redis has it; None without one or without Redis."""

    async def rebuild(self, key: Key, policy: Policy) -> Buffer:
        """The session's buffer from PostgreSQL."""

    def meet(self, key: Key) -> None:
        """Nobody had met the subject before: nothing is remembered of it yet."""

    async def recall(self, key: Key, query: str, policy: Policy, *, buffer: Buffer | None = None) -> Recall:
        """What is remembered about the query beyond the buffer, best first."""

    async def append(self, conn: AsyncConnection[Any], exchanges: Sequence[Exchange]) -> None:
        """Store lines and batch orders in the caller's transaction."""

    def cache(self, exchange: Exchange, buffer: Buffer) -> None:
        """Put the new buffer into Redis, after the commit and behind the caller."""

    def fold(self, buffer: Buffer, lines: Sequence[Line], policy: Policy, key: Key) -> tuple[Buffer, Batch | None]:
        """The buffer after these lines, and the batch that they filled."""
