"""Celery's side of memory: arguments are ids, everything else is read where it is used.

The hub calls `configure` once per worker process. A task runs on one loop of its own thread, because pools and
clients belong to the loop that opened them and a worker's pool type is not ours to choose.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from uuid import UUID

from celery import shared_task

from memory import store
from memory.summarise import Digester
from tenants.db.pools import Pools

SWEEP_LIMIT = 500
TASK_SECONDS = 170.0
"""Below the batch's lease of 180 s, so that a task never works on what another may already hold."""

DigesterFactory = Callable[[], Awaitable[Digester]]


class NotConfigured(RuntimeError):
    """A memory task ran in a process that was never told how to reach its servers."""


class _Loop:
    """One event loop in one daemon thread, with the digester that was opened on it."""

    def __init__(self, factory: DigesterFactory) -> None:
        self._factory = factory
        self._digester: Digester | None = None
        self._opening: asyncio.Lock | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="memory-tasks", daemon=True).start()

    def run(self, tenant_id: UUID, batch_id: UUID) -> bool:
        """Blocks the calling worker until the batch is dealt with or its time is over."""
        future = asyncio.run_coroutine_threadsafe(self._run(tenant_id, batch_id), self._loop)
        try:
            return future.result(TASK_SECONDS)
        except TimeoutError:
            future.cancel()
            raise

    async def _run(self, tenant_id: UUID, batch_id: UUID) -> bool:
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._digester is None:
                self._digester = await self._factory()
        return await self._digester.run(tenant_id, batch_id)


_loop: _Loop | None = None
_factory: DigesterFactory | None = None
_lock = threading.Lock()


def configure(factory: DigesterFactory) -> None:
    """Say how this process makes its digester; it is made on first use, so forking afterwards is safe."""
    global _factory, _loop
    with _lock:
        _factory, _loop = factory, None


def _running() -> _Loop:
    global _loop
    with _lock:
        if _factory is None:
            raise NotConfigured("memory.tasks.configure was not called in this worker")
        if _loop is None:
            _loop = _Loop(_factory)
        return _loop


@shared_task(name="memory.summarise", acks_late=True, ignore_result=True)
def summarise(tenant_id: str, batch_id: str) -> bool:
    """Execute a batch; sent again it finds it done. What failed stands in the batch's row, for the sweep to find."""
    return _running().run(UUID(tenant_id), UUID(batch_id))


async def sweep(pools: Pools, *, limit: int = SWEEP_LIMIT) -> list[tuple[UUID, UUID]]:
    """(tenant, batch) whose job should be sent again: claimed, not done, due since 60 s x 2^attempt."""
    async with pools.queue() as conn:
        return await store.due(conn, limit=limit)
