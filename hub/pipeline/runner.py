"""Run leased turns: many at once on one event loop, bounded, finished or given back in the end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import structlog

from agents.errors import AgentUnknown
from hub.ledger.accept import Accept
from hub.ledger.claim import Claimed, Claimer
from hub.ledger.commit import Committed
from hub.ledger.connections import Lease
from hub.ledger.leases import Leases
from hub.pipeline import metrics
from hub.pipeline.anticipation import Anticipation, Early
from hub.pipeline.bodies import Body
from hub.pipeline.claiming import POLL_SECONDS, Claiming
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import ConnectionUnknown
from hub.pipeline.keeping import AWAY, AtWork, Keeper
from hub.pipeline.outbox import Outbox
from hub.pipeline.run import MOST_ATTEMPTS, Fenced
from hub.pipeline.turns import Turns

log = structlog.get_logger(__name__)


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
        self._turns, self.leases, self._outbox = turns, leases, outbox
        self.worker_id = worker_id
        self._capacity = capacity
        self._at_work = AtWork()
        self._running = self._at_work.tasks
        self._keeper = Keeper(self._at_work, leases, lease_seconds=lease.duration.total_seconds())
        self._claiming = Claiming(
            claimer,
            room=lambda: capacity - len(self._running),
            over=lambda: self.draining,
            begin=self.begin,
        )
        self._anticipation = Anticipation(turns, most=capacity, busy=self._running, behind=self._behind)
        self._clearing: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
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
        works = (self._claiming.claiming, self._keeper.renewing, self._delivering)
        self._loops = [loop.create_task(work()) for work in works]

    def offers(self, due: Callable[[UUID], None]) -> None:
        """Sessions that waited for a slot which is free now go to `due`, which knows who is preferred for them."""
        self._claiming.offer = due

    def poke(self, session_id: UUID) -> None:
        """A session has become due; claim it without waiting for the poll."""
        self._claiming.poke(session_id)

    def begin(self, claimed: Claimed) -> None:
        """Run a turn that is leased to this worker."""
        early = self._anticipation.take(claimed)
        if self.draining:  # accepted before, committed after the end was announced
            self._behind(self._keeper.give_back(claimed, delay=0.0))
            return
        self._at_work.begin(claimed, asyncio.get_running_loop().create_task(self._work(claimed, early)))
        if claimed.attempts > 1:
            metrics.TAKEN_OVER.inc()

    def stop_turn(self, session_id: UUID) -> bool:
        """The stop button: end the running turn with what it has. False when it does not run here."""
        task, run = self._running.get(session_id), self._at_work.runs.get(session_id)
        if task is None or run is None:
            return False
        if not run.ending:  # otherwise its end is being stored already
            run.stopping = True
            task.cancel()
        return True

    async def drain(self, seconds: float) -> None:
        """Claim nothing more, finish what runs for at most `seconds`, release the rest for others."""
        self.draining = True
        self._claiming.wake()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=seconds)
        left = self._at_work.leases()
        for session_id in list(self._running):
            self._at_work.interrupt(session_id)
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=5.0)
        if left:
            await self._keeper.release(left)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def close(self) -> None:
        """After the inbox was closed: let what was given back or cleared up reach the database."""
        if self._clearing:
            await asyncio.wait(list(self._clearing), timeout=5.0)

    def anticipate(self, connection: LiveConnection, row: Accept, body: Body) -> UUID | None:
        """Start the model call of a warm session's turn while its message commits; shown only once it has.

        Returns the turn to `forget` after the commit, None where nothing was started.
        """
        return self._anticipation.begin(connection, row, body)

    def forget(self, turn_id: UUID) -> None:
        """The message is committed (or not): what was started for another course of things is stopped."""
        self._anticipation.forget(turn_id)

    def _behind(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)

    async def _work(self, claimed: Claimed, early: Early | None) -> None:
        ended: Committed | None = None
        try:
            ended = await self._run(claimed, early)
        except Fenced:
            log.info("turn_fenced", turn_id=str(claimed.turn_id))
        except AWAY as error:
            log.warning("turn_interrupted", turn_id=str(claimed.turn_id), reason=type(error).__name__)
            await self._keeper.give_back(claimed, delay=0.5)
        except (ConnectionUnknown, AgentUnknown) as error:
            log.warning("turn_without_home", turn_id=str(claimed.turn_id), reason=str(error))
            ended = await self._again_or_never(claimed, error, delay=30.0)
        except Exception as error:  # one turn's fault: logged whole, tried again, buried at last
            log.exception("turn_failed", turn_id=str(claimed.turn_id))
            ended = await self._again_or_never(claimed, error, delay=min(0.5 * 2**claimed.attempts, 30.0))
        finally:
            self._at_work.end(claimed.session_id)
        if ended is not None:
            self._claiming.freed(claimed.tenant_id, crowded=ended.crowded)
            if ended.more:
                self.poke(claimed.session_id)

    async def _run(self, claimed: Claimed, early: Early | None) -> Committed:
        run = early[0] if early is not None else await self._turns.prepare(claimed)
        self._at_work.runs[claimed.session_id] = run
        try:
            if early is not None:
                return await self._turns.adopt(run, claimed, early[1])
            return await self._turns.run(run)
        except asyncio.CancelledError:
            if not run.stopping:
                raise
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            return await self._turns.stop(run)
        finally:
            if run.publisher is not None:
                run.publisher.close()

    async def _again_or_never(self, claimed: Claimed, error: Exception, *, delay: float) -> Committed | None:
        """Another attempt later; after too many the turn is dead, so that the session goes on."""
        if claimed.attempts > MOST_ATTEMPTS:
            try:
                return await self._turns.ending.bury(claimed, type(error).__name__)
            except Fenced:
                return None
            except Exception:  # whoever claims it next buries it
                log.exception("turn_not_buried", turn_id=str(claimed.turn_id))
        await self._keeper.give_back(claimed, delay=delay)
        return None

    async def _delivering(self) -> None:
        while not self.draining:
            try:
                taken = await self._outbox.claim()
            except AWAY as error:
                log.warning("outbox_claim_failed", reason=type(error).__name__)
                taken = 0
            except Exception:  # this loop must not end while the process lives
                log.exception("outbox_claim_failed_unexpectedly")
                taken = 0
            await asyncio.sleep(0.05 if taken else POLL_SECONDS)
