"""Put right what faults leave behind: counts that drifted, summaries that nobody executes."""

import asyncio
import time
from uuid import UUID

import structlog
from kombu.exceptions import OperationalError

from agents.pool import WarmStates
from hub.ledger.leases import Leases
from hub.pipeline.runner import Runner
from memory import tasks as memory_tasks
from tenants.db.pools import Pools

log = structlog.get_logger(__name__)

RECOUNT_SECONDS = 60.0
SUMMARIES_SECONDS = 30.0


class Sweeper:
    """Runs beside a runner's heart-beat; each step is short and each job has its own interval."""

    def __init__(self, pools: Pools, runner: Runner | None, warm: WarmStates, *, idle_seconds: float) -> None:
        self._pools = pools
        self._warm = warm
        self._idle_seconds = idle_seconds
        self._leases: Leases | None = runner.leases if runner is not None else None
        self._recounted = time.monotonic()
        self._summaries = time.monotonic()

    async def step(self) -> None:
        """Do what is due."""
        if self._leases is None:
            return
        now = time.monotonic()
        if now - self._recounted >= RECOUNT_SECONDS:
            self._recounted = now
            await self._leases.recount()
            # Out of L1: the lines are in PostgreSQL since their commits, and the fragment goes on at return.
            self._warm.release(self._idle_seconds)
        if now - self._summaries >= SUMMARIES_SECONDS:
            self._summaries = now
            await self._resend()

    async def _resend(self) -> None:
        """Send due summary jobs again; the worker claims each by compare-and-set, so a second job does no harm."""
        due = await memory_tasks.sweep(self._pools)
        for tenant_id, batch_id in due:
            try:
                await asyncio.to_thread(send_summary, str(tenant_id), str(batch_id))
            except (OperationalError, OSError) as error:
                log.warning("summary_not_sent", reason=type(error).__name__)
                return


def send_summary_soon(tenant_id: UUID, batch_id: UUID) -> None:
    """Queue one summary behind the reply; a broker that is away costs a minute, the sweep sends it again."""
    task = asyncio.get_running_loop().run_in_executor(None, send_summary, str(tenant_id), str(batch_id))
    task.add_done_callback(_log_failure)


def _log_failure(future: "asyncio.Future[None]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("summary_not_sent", reason=type(error).__name__)


def send_summary(tenant_id: str, batch_id: str) -> None:
    """Queue one summary for Celery."""
    from hub.celery import app  # here: processes that run no turns need no Celery

    app.send_task("memory.summarise", args=[tenant_id, batch_id], retry=False)
