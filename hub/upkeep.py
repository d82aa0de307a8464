"""Periodic care of rows: each task may run twice, late or not at all for a while without harm.

A slot is run once where Redis says who took it; where Redis does not answer it is run anyway, because every task looks
at rows and changes only what is not yet as it should be. A lock in PostgreSQL keeps two runs of one job apart, however
many beats and workers there are and whatever Redis has forgotten.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
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
from memory import vectors as stored_vectors
from tenants import quotas
from tenants.apps import MONTHS_AHEAD
from tenants.db.partitions import ensure_partitions
from tenants.db.pools import Pools
from tenants.ids import floor, uuid7
from tenants.redis import connect_sync, shared_key

log = structlog.get_logger(__name__)

RAN = Counter("hub_upkeep_runs_total", "Upkeep runs, by job and end.", ["job", "end"])
KEY_DAYS: Final = 400
ANSWER_DAYS: Final = 1
BATCH: Final = 5_000
TOOL_CALL_DAYS: Final = 90
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
_OLD_ANSWERS: Final = "SELECT DISTINCT tenant_id FROM kept_answer WHERE created < now() - make_interval(days => %s)"
_DELETE_ANSWERS: Final = (
    "DELETE FROM kept_answer WHERE ctid = ANY(ARRAY(SELECT ctid FROM kept_answer WHERE tenant_id = %s "
    "AND created < now() - make_interval(days => %s) LIMIT %s))"
)
# Ids are ordered by time, so the primary key finds the old ones.
_OLD_CALLS: Final = "SELECT DISTINCT tenant_id FROM tool_call WHERE id < %s"
_DELETE_CALLS: Final = (
    "DELETE FROM tool_call WHERE ctid = ANY(ARRAY(SELECT ctid FROM tool_call "
    "WHERE tenant_id = %s AND id < %s LIMIT %s))"
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
    """Drop what makes repetitions recognisable: keys of messages after 400 days, answers of REST after one."""
    return _once(self, lambda: _with_pools(_drop_message_keys))


@shared_task(name="hub.upkeep.tool_calls", bind=True)
def tool_calls(self: "Task[..., int]") -> int:
    """Drop the ledger of tool calls after 90 days: their turns ended long ago, nothing asks for the outcome again."""
    return _once(self, lambda: _with_pools(_drop_tool_calls))


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


@shared_task(name="hub.upkeep.vectors", bind=True)
def vectors(self: "Task[..., int]") -> int:
    """Remove vectors of tenants that have switched them off."""
    return _once(self, lambda: _with_pools(stored_vectors.sweep))


@shared_task(name="hub.upkeep.drop_vectors")
def drop_vectors(tenant_id: str) -> int:
    """The same for one tenant, at once; what is lost or comes later is found by `vectors`."""
    return _with_pools(lambda pools: stored_vectors.drop(pools, UUID(tenant_id)))


def _once(task: "Task[..., int]", work: Callable[[], int]) -> int:
    """Run the work unless another sending took its slot; a task that is delivered again after a crash holds it."""
    job = str(task.name)
    number = task.request.get("slot")
    if not _take(job, slot(job) if number is None else int(number), holder=str(task.request.id)):
        RAN.labels(job, "taken").inc()
        return 0
    with _alone(job) as alone:
        if not alone:
            RAN.labels(job, "busy").inc()
            return 0
        count = work()
    RAN.labels(job, "done").inc()
    if count:
        log.info("upkeep_done", job=job, rows=count)
    return count


@contextmanager
def _alone(job: str) -> Iterator[bool]:
    """Whether no other process runs the job while the block runs. The lock ends with its connection at the latest."""
    key = int.from_bytes(hashlib.sha256(job.encode()).digest()[:8], "big", signed=True)
    with psycopg.connect(env().direct_dsn, autocommit=True, connect_timeout=10, application_name="hub-upkeep") as conn:
        row = conn.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()
        yield bool(row and row[0])


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
    answers = await _drop_old(pools, find=_OLD_ANSWERS, delete=_DELETE_ANSWERS, limit=ANSWER_DAYS)
    return answers + await _drop_old(pools, find=_OLD_KEYS, delete=_DELETE_KEYS, limit=KEY_DAYS)


async def _drop_tool_calls(pools: Pools) -> int:
    oldest = floor(datetime.now(UTC) - timedelta(days=TOOL_CALL_DAYS))
    return await _drop_old(pools, find=_OLD_CALLS, delete=_DELETE_CALLS, limit=oldest)


async def _drop_old(pools: Pools, *, find: LiteralString, delete: LiteralString, limit: object) -> int:
    """Tenant by tenant and batch by batch, so that no lock is held for long. `find` and `delete` take the limit."""
    async with pools.ops("upkeep: whose rows are old") as conn:
        tenants = [row[0] for row in await (await conn.execute(find, (limit,))).fetchall()]
    total = 0
    for tenant_id in tenants:
        gone = BATCH
        while gone == BATCH:
            async with pools.app(tenant_id) as conn:
                gone = (await conn.execute(delete, (tenant_id, limit, BATCH))).rowcount
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
