"""Lease turns and run them: many at once on one event loop, bounded, renewed while they live, released in the end.

A task that died is not renewed. The holder fences itself when its leases could not be renewed in time; whatever it
still finishes then is refused by the fence in the database.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from agents.errors import AgentUnknown
from hub.ledger.accept import Accept
from hub.ledger.batching import Closed, Overloaded
from hub.ledger.claim import Claimed, Claimer
from hub.ledger.connections import Lease
from hub.ledger.leases import Leases
from hub.pipeline import crash, metrics
from hub.pipeline.bodies import Body
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import ConnectionUnknown
from hub.pipeline.outbox import Outbox
from hub.pipeline.run import MOST_ATTEMPTS, Fenced, Run
from hub.pipeline.turns import Turns

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.25
ANYONES_SECONDS = 0.25
"""Work due for this long is anyone's, whoever was preferred for it."""
_CLAIM_AT_ONCE = 64
_LEAST_SECONDS = 0.05
Early = tuple[Run, "asyncio.Task[None]"]
_AWAY = (psycopg.OperationalError, psycopg.errors.TransactionTimeout, PoolTimeout, Overloaded, Closed)


class Runner:
    """The turns of this process."""

    def __init__(
        self,
        *,
        turns: Turns,
        claimer: Claimer,
        leases: Leases,
        outbox: Outbox,
        lease: Lease,
        worker_id: UUID,
        capacity: int,
    ) -> None:
        self._turns, self._claimer, self.leases, self._outbox = turns, claimer, leases, outbox
        self._lease_seconds = lease.duration.total_seconds()
        self.worker_id = worker_id
        self._capacity = capacity
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._runs: dict[UUID, Run] = {}
        self._fences: dict[UUID, int] = {}
        self._early: dict[UUID, Early] = {}
        self._clearing: set[asyncio.Task[None]] = set()
        self._poked: set[UUID] = set()
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._renewed = time.monotonic()
        self.draining = False

    @property
    def active(self) -> int:
        """Turns at work."""
        return len(self._running)

    def ready(self) -> UUID | None:
        """This worker's id while it has room for a turn."""
        return self.worker_id if not self.draining and len(self._running) < self._capacity else None

    def start(self) -> None:
        """Begin to claim, renew and deliver."""
        loop = asyncio.get_running_loop()
        self._loops = [loop.create_task(work()) for work in (self._claiming, self._renewing, self._delivering)]

    def poke(self, session_id: UUID) -> None:
        """A session has become due; claim it without waiting for the poll."""
        if len(self._poked) < 10_000:
            self._poked.add(session_id)
        self._wake.set()

    def begin(self, claimed: Claimed) -> None:
        """Run a turn that is leased to this worker."""
        early = self._early.pop(claimed.turn_id, None)
        if early is not None and not early[0].fits(claimed):
            self._discard(*early)
            early = None
        if self.draining:  # accepted before, committed after the end was announced
            self._behind(self._give_back(claimed, delay=0.0))
            return
        task = asyncio.get_running_loop().create_task(self._work(claimed, early))
        self._running[claimed.session_id] = task
        self._fences[claimed.session_id] = claimed.fence
        metrics.RUNNING.set(len(self._running))
        if claimed.attempts > 1:
            metrics.TAKEN_OVER.inc()

    def stop_turn(self, session_id: UUID) -> bool:
        """The stop button: end the running turn with what it has. False when it does not run here."""
        task, run = self._running.get(session_id), self._runs.get(session_id)
        if task is None or run is None:
            return False
        if not run.ending:  # otherwise its end is being stored already
            run.stopping = True
            task.cancel()
        return True

    async def drain(self, seconds: float) -> None:
        """Claim nothing more, finish what runs for at most `seconds`, release the rest for others."""
        self.draining = True
        self._wake.set()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=seconds)
        left = [(session_id, self._fences[session_id]) for session_id in self._running]
        for session_id, task in list(self._running.items()):
            run = self._runs.get(session_id)
            if run is None or not run.ending:
                task.cancel()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=5.0)
        if left:
            await self._release(left)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def close(self) -> None:
        """After the inbox was closed: let what was given back or cleared up reach the database."""
        if self._clearing:
            await asyncio.wait(list(self._clearing), timeout=5.0)

    def _behind(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)

    # ---- before the commit -------------------------------------------------------------------------------------

    def anticipate(self, connection: LiveConnection, row: Accept, body: Body) -> UUID | None:
        """Start the model call of a warm session's turn while its message commits; shown only once it has.

        Returns the turn to `forget` after the commit, None where nothing was started.
        """
        place = self._turns.places.get(row.connection_id, row.address_hash)
        if place is None or row.runner is None or not row.answer or place.session_id in self._running:
            return None
        if not self._turns.is_warm(place) or len(self._early) >= self._capacity:
            return None
        run = self._turns.guess(connection, row, body, place)
        self._early[row.turn_id] = (run, asyncio.get_running_loop().create_task(self._turns.early(run)))
        return row.turn_id

    def forget(self, turn_id: UUID) -> None:
        """The message is committed (or not): what was started for another course of things is stopped."""
        early = self._early.pop(turn_id, None)
        if early is not None:
            self._discard(*early)

    def _discard(self, run: Run, task: "asyncio.Task[None]") -> None:
        self._behind(self._turns.discard(run, task))

    # ---- one turn ----------------------------------------------------------------------------------------------

    async def _work(self, claimed: Claimed, early: "Early | None" = None) -> None:
        session_id, more = claimed.session_id, False
        try:
            more = await self._run(claimed, early)
        except Fenced:
            log.info("turn_fenced", turn_id=str(claimed.turn_id))
        except _AWAY as error:
            log.warning("turn_interrupted", turn_id=str(claimed.turn_id), reason=type(error).__name__)
            await self._give_back(claimed, delay=0.5)
        except (ConnectionUnknown, AgentUnknown) as error:
            log.warning("turn_without_home", turn_id=str(claimed.turn_id), reason=str(error))
            more = await self._again_or_never(claimed, error, delay=30.0)
        except Exception as error:
            log.exception("turn_failed", turn_id=str(claimed.turn_id))
            more = await self._again_or_never(claimed, error, delay=min(0.5 * 2**claimed.attempts, 30.0))
        finally:
            # A dead task's lease is never renewed, whatever ended it.
            if self._running.get(session_id) is asyncio.current_task():
                del self._running[session_id]
                self._fences.pop(session_id, None)
                self._runs.pop(session_id, None)
            metrics.RUNNING.set(len(self._running))
        if more:
            self.poke(session_id)

    async def _run(self, claimed: Claimed, early: "Early | None") -> bool:
        run = early[0] if early is not None else await self._turns.prepare(claimed)
        self._runs[claimed.session_id] = run
        try:
            if early is not None:
                return (await self._turns.adopt(run, claimed, early[1])).more
            return (await self._turns.run(run)).more
        except asyncio.CancelledError:
            if not run.stopping:
                raise
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            return (await self._turns.stop(run)).more
        finally:
            if run.publisher is not None:
                run.publisher.close()

    async def _again_or_never(self, claimed: Claimed, error: Exception, *, delay: float) -> bool:
        """Another attempt later; after too many the turn is dead, so that the session goes on. Whether turns wait."""
        if claimed.attempts > MOST_ATTEMPTS:
            try:
                return (await self._turns.ending.bury(claimed, type(error).__name__)).more
            except Fenced:
                return False
            except Exception:
                log.exception("turn_not_buried", turn_id=str(claimed.turn_id))
        await self._give_back(claimed, delay=delay)
        return False

    async def _give_back(self, claimed: Claimed, *, delay: float) -> None:
        await self._release([(claimed.session_id, claimed.fence)], delay=delay)

    async def _release(self, held: Sequence[tuple[UUID, int]], *, delay: float = 0.0) -> None:
        try:
            await self.leases.release(held, delay=delay)
        except _AWAY as error:
            log.warning("leases_left_to_end", leases=len(held), reason=type(error).__name__)

    # ---- loops -------------------------------------------------------------------------------------------------

    async def _claiming(self) -> None:
        polled = 0.0
        while not self.draining:
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._claim_poked()
                if time.monotonic() - polled >= POLL_SECONDS:
                    polled = time.monotonic()
                    if await self._claim(None):
                        polled = 0.0
                        self._wake.set()
            except _AWAY as error:
                log.warning("claim_failed", reason=type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)
            except Exception:
                log.exception("claim_failed_unexpectedly")
                await asyncio.sleep(POLL_SECONDS)

    async def _claim_poked(self) -> None:
        while self._poked and not self.draining:
            batch = [self._poked.pop() for _ in range(min(len(self._poked), _CLAIM_AT_ONCE))]
            try:
                await self._claim(batch)
            except _AWAY:
                self._poked.update(batch)
                raise

    async def _claim(self, sessions: Sequence[UUID] | None) -> bool:
        """Claim and begin; True when there may be more at once."""
        room = min(self._capacity - len(self._running), _CLAIM_AT_ONCE)
        if room <= 0 or self.draining:
            return False
        age = ANYONES_SECONDS if sessions is None else 0.0
        claimed = await self._claimer.claim(limit=room, sessions=sessions, older_than=age)
        crash.point("claim.after_commit")
        for item in claimed:
            self.begin(item)
        return len(claimed) == room

    async def _renewing(self) -> None:
        while True:
            await asyncio.sleep(min(self._lease_seconds / 4, self._left))
            held = self._held()
            if not held:
                self._renewed = time.monotonic()
                continue
            crash.point("renew.before")
            try:
                async with asyncio.timeout(min(self._lease_seconds / 4, self._left)):
                    kept = await self.leases.renew(held)
            except Exception as error:  # noqa: BLE001 (whatever it was: without a renewal the leases end)
                log.warning("renewal_failed", reason=type(error).__name__)
                if self._left <= _LEAST_SECONDS:
                    self._abandon(session_id for session_id, _ in held)
                continue
            self._renewed = time.monotonic()
            self._abandon(
                session_id
                for session_id, fence in held
                if session_id not in kept and (session_id, fence) in self._held()
            )

    @property
    def _left(self) -> float:
        """Seconds until we fence ourselves: the leases' end minus 20 %."""
        return max(self._renewed + self._lease_seconds * 0.8 - time.monotonic(), _LEAST_SECONDS)

    def _held(self) -> list[tuple[UUID, int]]:
        """The leases of turns that are not yet committed."""
        return [
            (session_id, fence)
            for session_id, fence in self._fences.items()
            if (run := self._runs.get(session_id)) is None or not run.committed
        ]

    def _abandon(self, sessions: "object") -> None:
        """Stop turns whose lease is no longer ours."""
        for session_id in list(sessions):  # type: ignore[call-overload]
            task, run = self._running.get(session_id), self._runs.get(session_id)
            # A commit gives the lease back itself, and a renewal that crosses it must not look like a loss.
            if task is not None and not (run is not None and run.ending):
                log.warning("lease_lost", session_id=str(session_id))
                task.cancel()

    async def _delivering(self) -> None:
        while not self.draining:
            try:
                taken = await self._outbox.claim()
            except _AWAY as error:
                log.warning("outbox_claim_failed", reason=type(error).__name__)
                taken = 0
            except Exception:
                log.exception("outbox_claim_failed_unexpectedly")
                taken = 0
            await asyncio.sleep(0.05 if taken else POLL_SECONDS)
