"""How the ledger reaches the database: single statements of one role, and the lengths of leases."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import AsyncConnection

from tenants.db.pools import Pools

Role = Literal["ingest", "queue"]
Ahead = tuple[LiteralString, Mapping[str, object]]
"""A statement and its parameters."""
PATIENCE_SECONDS = 2.0
"""How long a statement is tried again before its caller hears of it: longer than a busy commit holds a tenant's quota
rows, shorter than a platform waits for its answer."""
_LONGEST_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a worker may hold a turn without renewing it, and a delivery without settling it."""

    duration: timedelta = timedelta(seconds=10)
    sending: timedelta = timedelta(seconds=60)

    @classmethod
    def of(cls, seconds: float) -> "Lease":
        """A turn's lease of so many seconds; sends keep theirs."""
        return cls(duration=timedelta(seconds=seconds))

    @staticmethod
    def seconds(value: float) -> timedelta:
        """An interval parameter."""
        return timedelta(seconds=value)


class RoleConnection:
    """Statements as one narrow role. A deadlock or a lock that is busy for long is tried again for a while."""

    def __init__(self, pools: Pools, role: Role) -> None:
        self._pools = pools
        self._role: Role = role

    async def fetch(
        self, statement: str, parameters: Mapping[str, object], *, ahead: Ahead | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement as its own transaction and return its rows; `ahead` goes before it in the same round trip.

        What takes locks ahead lets the statement begin with a snapshot that none of them makes old: one that waits for
        a row in its midst sets its whole plan up a second time (EvalPlanQual), which was a fifth of the accept.
        """
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, 0.005
        while True:
            try:
                if ahead is not None:
                    return await self._after(ahead, statement, parameters)
                async with self._pools.statement(self._role) as conn:
                    return await (await conn.execute(statement, parameters, prepare=True)).fetchall()
            except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
                if time.monotonic() + pause > deadline:
                    raise
            # Waited out without a connection, and for differing times: equals that meet again would lock up again.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _after(self, ahead: Ahead, statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        async with self._open() as conn:
            async with conn.pipeline():
                await conn.execute(*ahead, prepare=True)
                cursor = await conn.execute(statement, parameters, prepare=True)
                await conn.execute("COMMIT")
            return await cursor.fetchall()

    async def execute(self, statement: str, parameters: Mapping[str, object]) -> int:
        """Run one statement as its own transaction; returns how many rows it touched."""
        async with self._pools.statement(self._role) as conn:
            return (await conn.execute(statement, parameters, prepare=True)).rowcount

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[AsyncConnection[Any]]:
        async with self._pools.ingest() if self._role == "ingest" else self._pools.queue() as conn:
            yield conn

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Several statements as one transaction."""
        return self._open()
