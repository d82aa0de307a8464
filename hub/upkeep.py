"""Periodic care of rows: each task may run twice, late or not at all for a while without harm.

A slot is run once where Redis says who took it; where Redis does not answer it is run anyway, because every task looks
at rows and changes only what is not yet as it should be.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import structlog
from celery import Task, shared_task
from django.conf import settings
from django.db import connections
from prometheus_client import Counter
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from redis.exceptions import RedisError

from hub.celery import SLOTS, slot
from hub.env import env
from hub.rollups import roll_up
from hub.summaries import pools_of
from memory import tasks as memory_tasks
from tenants import quotas
from tenants.apps import MONTHS_AHEAD
from tenants.db.partitions import ensure_partitions
from tenants.db.pools import Pools
from tenants.ids import uuid7
from tenants.redis import connect_sync, shared_key

log = structlog.get_logger(__name__)

RAN = Counter("hub_upkeep_runs_total", "Upkeep runs, by job and end.", ["job", "end"])
KEY_DAYS: Final = 400
KEY_BATCH: Final = 5_000
WORKER_HOURS: Final = 1
TENANT_PAGE: Final = 500

_TENANTS: Final = "SELECT id FROM tenant WHERE id > %s ORDER BY id LIMIT %s"
_ACTIVE_SESSIONS: Final = (
    "SELECT count(*) FROM session WHERE tenant_id = %s AND last_inbound_at > now() - interval '30 days'"
)
_OLD_KEYS: Final = "SELECT DISTINCT tenant_id FROM message_key WHERE created < now() - make_interval(days => %s)"
_DELETE_KEYS: Final = (
    "DELETE FROM message_key WHERE ctid = ANY(ARRAY(SELECT ctid FROM message_key WHERE tenant_id = %s "
    "AND created < now() - make_interval(days => %s) LIMIT %s))"
)
# The scanner of any live runner does this within a second; this is for the time when no runner lives.
_DEAD_WORKERS: Final = """
DELETE FROM worker w WHERE w.seen_at < now() - make_interval(hours => %s) AND NOT EXISTS (
    SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((l.classid::bigint << 32) | l.objid::bigint) = w.lock_key)
"""
_ALERT: Final = "INSERT INTO event (id, tenant_id, type, data, created) VALUES (%s, %s, 'quota.alert', %s, now())"

_told_of_owner = False


@shared_task(name="hub.upkeep.partitions", bind=True)
def partitions(self: "Task[..., int]") -> int:
    """Make the partitions of the coming months; needs the schema's owner, so most workers leave it to another."""
    return _once(self, _make_partitions)


@shared_task(name="hub.upkeep.quotas", bind=True)
def quota(self: "Task[..., int]") -> int:
    """Begin new days of quota, count the sessions of 30 days again, and raise alerts once per period."""
    return _once(self, lambda: _each_tenant(_quotas_of))


@shared_task(name="hub.upkeep.message_keys", bind=True)
def message_keys(self: "Task[..., int]") -> int:
    """Drop keys of messages older than 400 days: no platform delivers again after that."""
    return _once(self, lambda: _with_pools(_drop_message_keys))


@shared_task(name="hub.upkeep.summaries", bind=True)
def summaries(self: "Task[..., int]") -> int:
    """Send overdue summaries again: the fall-back of the sweeper in the runners."""
    return _once(self, lambda: _with_pools(_send_summaries))


@shared_task(name="hub.upkeep.workers", bind=True)
def workers(self: "Task[..., int]") -> int:
    """Remove rows of processes that are long gone."""
    return _once(self, lambda: _with_pools(_drop_workers))


@shared_task(name="hub.upkeep.rollups", bind=True)
def rollups(self: "Task[..., int]") -> int:
    """Count the present hour and the one before it for the console's dashboard; catch up what was missed."""
    return _once(self, lambda: _with_pools(roll_up))


def _once(task: "Task[..., int]", work: Callable[[], int]) -> int:
    """Run the work unless another sending took its slot; a task that is delivered again after a crash holds it."""
    job = str(task.name)
    number = task.request.get("slot")
    if not _take(job, slot(job) if number is None else int(number), holder=str(task.request.id)):
        RAN.labels(job, "taken").inc()
        return 0
    count = work()
    RAN.labels(job, "done").inc()
    if count:
        log.info("upkeep_done", job=job, rows=count)
    return count


def _take(job: str, number: int, *, holder: str) -> bool:
    name = shared_key("slot", job, number)
    client = connect_sync(env().redis, size=1)
    try:
        if client.set(name, holder, nx=True, ex=2 * SLOTS[job]):
            return True
        return client.get(name) == holder.encode()
    except RedisError as error:
        log.warning("upkeep_without_slot", job=job, reason=type(error).__name__)
        return True
    finally:
        client.close()


def _make_partitions() -> int:
    global _told_of_owner
    if "owner" not in settings.DATABASES:
        RAN.labels("hub.upkeep.partitions", "no_owner").inc()
        if not _told_of_owner:
            log.warning("partitions_not_made_here", reason="HUB_DATABASE_OWNER_URL is not set in this worker")
            _told_of_owner = True
        return 0
    owner = connections["owner"]
    try:
        return len(ensure_partitions(owner, months_ahead=MONTHS_AHEAD))
    finally:
        owner.close()


def _with_pools(work: Callable[[Pools], Awaitable[int]]) -> int:
    async def run() -> int:
        pools = pools_of(env())
        await pools.open()
        try:
            return await work(pools)
        finally:
            await pools.close()

    return asyncio.run(run())


def _each_tenant(work: Callable[[Pools, UUID], Awaitable[int]]) -> int:
    """Tenant by tenant, each in its own transaction, page by page."""

    async def all_of(pools: Pools) -> int:
        after, total = UUID(int=0), 0
        while True:
            async with pools.ops("upkeep: which tenants there are") as conn:
                page = [row[0] for row in await (await conn.execute(_TENANTS, (after, TENANT_PAGE))).fetchall()]
            for tenant_id in page:
                total += await work(pools, tenant_id)
            if len(page) < TENANT_PAGE:
                return total
            after = page[-1]

    return _with_pools(all_of)


async def _quotas_of(pools: Pools, tenant_id: UUID) -> int:
    # Counted without a lock: a message accepted meanwhile is counted five minutes later at the latest.
    async with pools.app(tenant_id) as conn:
        row: Any = await (await conn.execute(_ACTIVE_SESSIONS, (tenant_id,))).fetchone()
    async with pools.app(tenant_id) as conn:
        rolled = await quotas.roll_over(conn, tenant_id)
        await quotas.recount(conn, tenant_id, metric="sessions", used=int(row[0]))
        crossed = await quotas.alerts(conn, tenant_id)
        for one in crossed:
            await _tell(conn, one)
    return rolled + len(crossed)


async def _tell(conn: AsyncConnection[Any], crossing: quotas.Crossing) -> None:
    data = Jsonb({"metric": crossing.metric, "used": crossing.used, "limit": crossing.limit})
    await conn.execute(_ALERT, (uuid7(), crossing.tenant_id, data))
    log.warning("quota_alert", tenant_id=str(crossing.tenant_id), metric=crossing.metric)


async def _drop_message_keys(pools: Pools) -> int:
    async with pools.ops("upkeep: whose message keys are old") as conn:
        tenants = [row[0] for row in await (await conn.execute(_OLD_KEYS, (KEY_DAYS,))).fetchall()]
    total = 0
    for tenant_id in tenants:
        gone = KEY_BATCH
        while gone == KEY_BATCH:
            async with pools.app(tenant_id) as conn:
                gone = (await conn.execute(_DELETE_KEYS, (tenant_id, KEY_DAYS, KEY_BATCH))).rowcount
            total += gone
    return total


async def _send_summaries(pools: Pools) -> int:
    due = await memory_tasks.sweep(pools)
    for tenant_id, batch_id in due:
        await asyncio.to_thread(memory_tasks.summarise.delay, str(tenant_id), str(batch_id))
    return len(due)


async def _drop_workers(pools: Pools) -> int:
    async with pools.queue() as conn:
        return (await conn.execute(_DEAD_WORKERS, (WORKER_HOURS,))).rowcount
