"""Know which turns run here and keep their leases: renewed while they live, given back, or given up when lost.

The holder fences itself when its leases could not be renewed in time; whatever it still finishes then is refused by the
fence in the database.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from hub.ledger.claim import Claimed
from hub.ledger.leases import Leases
from hub.pipeline import crash, metrics
from hub.pipeline.run import Run
from tenants.db.batching import Closed, Overloaded

log = structlog.get_logger(__name__)

AWAY = (psycopg.OperationalError, psycopg.errors.TransactionTimeout, PoolTimeout, Overloaded, Closed)
"""The database cannot be reached, or this process is leaving it: nothing is wrong with the work itself."""
_LEAST_SECONDS = 0.05


class AtWork:
    """The turns that run in this process, by session."""

    def __init__(self) -> None:
        self.tasks: dict[UUID, asyncio.Task[None]] = {}
        self.runs: dict[UUID, Run] = {}
        """What the tasks know of their turns; not there before a turn is prepared."""
        self._fences: dict[UUID, int] = {}

    def begin(self, claimed: Claimed, task: "asyncio.Task[None]") -> None:
        """A leased turn runs in `task` from now on."""
        self.tasks[claimed.session_id] = task
        self._fences[claimed.session_id] = claimed.fence
        metrics.RUNNING.set(len(self.tasks))

    def end(self, session_id: UUID) -> None:
        """Called by the turn's own task at its end: a dead task's lease is never renewed, whatever ended it."""
        if self.tasks.get(session_id) is asyncio.current_task():
            del self.tasks[session_id]
            self._fences.pop(session_id, None)
            self.runs.pop(session_id, None)
        metrics.RUNNING.set(len(self.tasks))

    def leases(self) -> list[tuple[UUID, int]]:
        """(session, fence) of every turn that runs."""
        return [(session_id, self._fences[session_id]) for session_id in self.tasks]

    def uncommitted(self) -> list[tuple[UUID, int]]:
        """(session, fence) of the turns that are not yet committed."""
        return [
            (session_id, fence)
            for session_id, fence in self._fences.items()
            if (run := self.runs.get(session_id)) is None or not run.committed
        ]

    def interrupt(self, session_id: UUID) -> bool:
        """Cancel a turn, unless its end is being stored already. Whether it was cancelled."""
        task, run = self.tasks.get(session_id), self.runs.get(session_id)
        if task is None or (run is not None and run.ending):
            return False
        task.cancel()
        return True


class Keeper:
    """The leases of the turns at work."""

    def __init__(self, at_work: AtWork, leases: Leases, *, lease_seconds: float) -> None:
        self._at_work, self._leases, self._lease_seconds = at_work, leases, lease_seconds
        self._renewed = time.monotonic()

    async def renewing(self) -> None:
        """Renew until cancelled; turns whose lease is lost are stopped."""
        while True:
            await asyncio.sleep(min(self._lease_seconds / 4, self._left))
            held = self._at_work.uncommitted()
            if not held:
                self._renewed = time.monotonic()
                continue
            crash.point("renew.before")
            try:
                async with asyncio.timeout(min(self._lease_seconds / 4, self._left)):
                    kept = await self._leases.renew(held)
            except Exception as error:  # noqa: BLE001 (whatever it was: without a renewal the leases end)
                log.warning("renewal_failed", reason=type(error).__name__)
                if self._left <= _LEAST_SECONDS:
                    self._abandon(session_id for session_id, _ in held)
                continue
            self._renewed = time.monotonic()
            self._abandon(
                session_id
                for session_id, fence in held
                if session_id not in kept and (session_id, fence) in self._at_work.uncommitted()
            )

    async def release(self, held: Sequence[tuple[UUID, int]], *, delay: float = 0.0) -> None:
        """Give (session, fence) leases back, due for anyone after `delay` seconds; they end by themselves otherwise."""
        try:
            await self._leases.release(held, delay=delay)
        except AWAY as error:
            log.warning("leases_left_to_end", leases=len(held), reason=type(error).__name__)

    async def give_back(self, claimed: Claimed, *, delay: float) -> None:
        """Release one turn's lease."""
        await self.release([(claimed.session_id, claimed.fence)], delay=delay)

    @property
    def _left(self) -> float:
        """Seconds until we fence ourselves: the leases' end minus 20 %."""
        return max(self._renewed + self._lease_seconds * 0.8 - time.monotonic(), _LEAST_SECONDS)

    def _abandon(self, sessions: Iterable[UUID]) -> None:
        """Stop turns whose lease is no longer ours."""
        for session_id in list(sessions):
            # A commit gives the lease back itself, and a renewal that crosses it must not look like a loss.
            if self._at_work.interrupt(session_id):
                log.warning("lease_lost", session_id=str(session_id))
