"""Faults that were found once and must not come back."""

import asyncio
import time
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from hub.assembly import make_stores
from hub.env import env
from hub.ledger.connections import Lease, RoleConnection
from hub.ledger.leases import Leases, Liveness
from tenants.db.pools import Pools
from tenants.ids import uuid7
from tests.conftest import Database

_SESSION = """
INSERT INTO session (id, tenant_id, connection_id, contact_id, subject_id, address_hash, address, generation, current,
    owner, starred, archived, last_seq, version, fence, lease_owner, lease_until, turn_id, merge, merge_due, due_turns,
    due_at, delivery_seq, unsettled, created)
VALUES (%s, %s, %s, NULL, %s, %s, '', 1, true, 'agent', false, false, 1, 0, 1, %s, now() + interval '1 minute', %s,
    true, false, 0, now() + interval '1 minute', 0, 0, now())
"""


@pytest.fixture
async def pools(clean: Database):  # type: ignore[no-untyped-def]
    opened = Pools(clean.login_dsn)
    await opened.open()
    yield opened
    await opened.close()


def _leased_session(database: Database, worker: UUID) -> tuple[UUID, UUID]:
    """A session with a running turn, leased to a worker; past all constraints, as superuser."""
    session, tenant = uuid7(), uuid7()
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute(_SESSION, (session, tenant, uuid7(), uuid7(), session.bytes, worker, uuid7()))
    return session, tenant


async def test_a_transaction_that_stands_still_lets_its_locks_go(pools: Pools, clean: Database) -> None:
    """The flush at the end of a pipeline disarms PostgreSQL's limit for idle transactions."""
    session, _ = _leased_session(clean, uuid7())
    with pytest.raises(psycopg.errors.TransactionTimeout):
        async with pools.queue() as conn:
            await conn.execute("SELECT 1 FROM session WHERE id = %s FOR UPDATE", (session,))
            await asyncio.to_thread(_lock_in_time, clean, session, 6.0)
            await conn.execute("SELECT 1")


async def test_a_sleeper_in_its_commit_lets_its_tenant_go_with_its_lease(clean: Database, redis_url: str) -> None:
    session, tenant = _leased_session(clean, uuid7())
    changes = {"database_url": clean.login_dsn, "redis_url": redis_url, "lease_seconds": 2.0}
    stores = make_stores(env().model_copy(update=changes))
    await stores.pools.open()
    try:
        with pytest.raises(psycopg.errors.TransactionTimeout):
            async with stores.pools.app(tenant) as conn:
                async with conn.pipeline():
                    await conn.execute("SELECT 1 FROM session WHERE id = %s FOR UPDATE", (session,))
                await asyncio.to_thread(_lock_in_time, clean, session, 4.0)
                await conn.execute("SELECT 1")
    finally:
        await stores.pools.close()


def _lock_in_time(database: Database, session: UUID, seconds: float) -> None:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        conn.execute(f"SET lock_timeout = '{seconds}s'".encode())
        conn.execute("SELECT 1 FROM session WHERE id = %s FOR UPDATE", (session,))


async def test_a_dead_process_is_taken_over_at_once_and_by_anybody(pools: Pools, clean: Database) -> None:
    dead, alive = uuid7(), uuid7()
    session, _ = _leased_session(clean, dead)
    async with await psycopg.AsyncConnection.connect(clean.superuser_dsn, autocommit=True) as doomed:
        await Liveness(doomed, worker_id=dead, role="runner").register()
    scanner = Liveness(await pools.direct(), worker_id=alive, role="runner")
    await scanner.register()
    began = time.monotonic()
    while (await scanner.beat())[1] == 0:
        # Far below the minute of its lease, far above what a busy machine delays a few statements by.
        assert time.monotonic() - began < 20.0, "the dead worker was not noticed"
        await asyncio.sleep(0.05)
    with psycopg.connect(clean.superuser_dsn) as conn:
        row = conn.execute("SELECT lease_owner, now() - due_at FROM session WHERE id = %s", (session,)).fetchone()
    assert row is not None
    assert row[0] is None
    assert row[1] > timedelta(seconds=0.5), "work of the dead is anyone's at the next poll"


async def test_a_lease_is_not_renewed_by_another_fence(pools: Pools, clean: Database) -> None:
    worker = uuid7()
    session, _ = _leased_session(clean, worker)
    leases = Leases(RoleConnection(pools, "queue"), Lease.of(3.0), worker)
    assert await leases.renew([(session, 1)]) == {session}
    assert await leases.renew([(session, 2)]) == set()


async def test_what_a_leaving_process_still_holds_is_due_at_once(pools: Pools, clean: Database) -> None:
    worker = uuid7()
    session, _ = _leased_session(clean, worker)
    leaving = Liveness(await pools.direct(), worker_id=worker, role="runner")
    await leaving.register()
    await leaving.leave()
    with psycopg.connect(clean.superuser_dsn) as conn:
        row = conn.execute("SELECT lease_owner, due_at < now() FROM session WHERE id = %s", (session,)).fetchone()
    assert row == (None, True)
