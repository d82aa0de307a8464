"""The asynchronous pools on a real server: roles, stamps, transactions, limits, in direct and pooler mode."""

import asyncio
from uuid import UUID

import psycopg
import pytest
from psycopg import _queries

from tenants.db.pools import HubConnection, PoolLimits, Pools
from tests.conftest import Database
from tests.tenants.pooler import PORT, Pooler
from tests.tenants.support import Table

Pair = tuple[UUID, UUID]


async def visible(conn: psycopg.AsyncConnection[object], table: str = "quota") -> set[UUID]:
    rows = await (await conn.execute(f"SELECT DISTINCT tenant_id FROM {table}")).fetchall()
    return {row[0] for row in rows}  # type: ignore[index]


async def test_an_app_block_sees_its_tenant_only(pools: Pools, tables: list[Table], pair: Pair) -> None:
    for tenant_id in (*pair, *pair):
        async with pools.app(tenant_id) as conn:
            for table in tables:
                rows = await (await conn.execute(f'SELECT DISTINCT "{table.column}" FROM "{table.name}"')).fetchall()
                assert {row[0] for row in rows} <= {tenant_id}


async def test_the_stamp_ends_with_the_block(pools: Pools, pair: Pair) -> None:
    for failing in (False, True):
        try:
            async with pools.app(pair[0]) as conn:
                assert await visible(conn) == {pair[0]}
                if failing:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        async with pools._pools["app"].connection() as raw:
            row = await (await raw.execute("SELECT nullif(current_setting('hub.tenant_id', true), '')")).fetchone()
            assert row == (None,)


async def test_interleaved_tasks_never_mix(pools: Pools, pair: Pair) -> None:
    async def work(tenant_id: UUID) -> None:
        for _ in range(4):
            async with pools.app(tenant_id) as conn:
                assert await visible(conn) == {tenant_id}
                await asyncio.sleep(0)
                assert await visible(conn) == {tenant_id}

    await asyncio.gather(*(work(pair[index % 2]) for index in range(24)))


async def test_begin_and_stamp_travel_with_the_first_statement(pools: Pools, pair: Pair) -> None:
    async with pools.app(pair[0]) as conn:
        assert int(conn.info.transaction_status) == psycopg.pq.TransactionStatus.IDLE
        cursor = await conn.execute("UPDATE quota SET used = used WHERE metric = 'sessions'")
        assert cursor.rowcount == 1
        assert int(conn.info.transaction_status) == psycopg.pq.TransactionStatus.INTRANS
        async with conn.transaction():
            assert await visible(conn) == {pair[0]}


async def test_pipelines_and_many_work_as_first_statements(pools: Pools, pair: Pair) -> None:
    async with pools.app(pair[0]) as conn, conn.pipeline():
        first = await conn.execute("SELECT DISTINCT tenant_id FROM quota")
        second = await conn.execute("SELECT count(*) FROM quota")
        assert await second.fetchone() == (5,)
        assert await first.fetchall() == [(pair[0],)]
    async with pools.app(pair[1]) as conn, conn.cursor() as cursor:
        await cursor.executemany("UPDATE quota SET used = %s WHERE metric = %s", [(1, "sessions"), (0, "sessions")])
        assert await visible(conn) == {pair[1]}
    async with pools.app(pair[1]) as conn, conn.cursor().copy("COPY (SELECT metric FROM quota) TO STDOUT") as copy:
        assert len([row async for row in copy.rows()]) == 5


async def test_commit_and_rollback(pools: Pools, pair: Pair) -> None:
    async def used() -> int:
        async with pools.app(pair[0]) as conn:
            row = await (await conn.execute("SELECT used FROM quota WHERE metric = 'documents'")).fetchone()
            assert row is not None
            return int(row[0])

    async with pools.app(pair[0]) as conn:
        await conn.execute("UPDATE quota SET used = 7 WHERE metric = 'documents'")
    assert await used() == 7
    with pytest.raises(ZeroDivisionError):
        async with pools.app(pair[0]) as conn:
            await conn.execute("UPDATE quota SET used = 9 WHERE metric = 'documents'")
            raise ZeroDivisionError
    assert await used() == 7
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with pools.app(pair[0]) as conn:
            await conn.execute("SELECT 1 / 0")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        async with pools.app(pair[0]) as conn:
            await conn.execute("UPDATE quota SET used = 9 WHERE metric = 'documents'")
            with pytest.raises(psycopg.errors.DivisionByZero):
                await conn.execute("SELECT 1 / 0")
    assert await used() == 7
    async with pools.app(pair[0]) as conn:
        pass  # nothing asked, nothing begun


async def test_a_cancelled_block_leaves_the_pool_usable(pools: Pools, pair: Pair) -> None:
    async def hang() -> None:
        async with pools.app(pair[0]) as conn:
            await conn.execute("SELECT pg_sleep(30)")

    for _ in range(3):
        task = asyncio.create_task(hang())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with pools.app(pair[1]) as conn:
            assert await visible(conn) == {pair[1]}


async def test_hot_pools_have_short_limits(pools: Pools, pair: Pair) -> None:
    expected = {"ingest": ("2s", "100ms"), "queue": ("2s", "100ms")}
    for role, limits in expected.items():
        async with getattr(pools, role)() as conn:
            row = await (
                await conn.execute(
                    "SELECT current_user::text, current_setting('statement_timeout'), current_setting('lock_timeout')"
                )
            ).fetchone()
            assert row == (f"hub_{role}", *limits)


async def test_an_operator_needs_a_reason_and_writes_nothing(pools: Pools, pair: Pair) -> None:
    async with pools.ops("test") as conn:
        assert await visible(conn) >= set(pair)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with pools.ops("test") as conn:
            await conn.execute("UPDATE quota SET used = 1")
    with pytest.raises(ValueError, match="reason"):
        async with pools.ops(" "):
            pass


async def test_the_direct_connection_holds_locks_and_is_replaced(pools: Pools, database: Database) -> None:
    conn = await pools.direct()
    assert await pools.direct() is conn
    await conn.execute("SELECT pg_advisory_lock(77)")
    with psycopg.connect(database.superuser_dsn, autocommit=True) as admin:
        held = (
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        row = admin.execute(held).fetchone()
        assert row is not None
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", row)
    with pytest.raises(psycopg.OperationalError):
        await conn.execute("SELECT 1")
    assert await pools.direct() is not conn


async def test_connections_whose_server_has_gone_are_not_handed_out(database: Database, pair: Pair) -> None:
    pools = Pools(database.login_dsn)
    await pools.open()
    try:
        async with pools.app(pair[0]) as one, pools.app(pair[0]) as two, pools.ingest() as three:
            for conn in (one, two, three):
                await conn.execute("SELECT 1")
        ours = "FROM pg_stat_activity WHERE application_name IN ('hub-app', 'hub-ingest')"
        assert len(database.rows(f"SELECT pg_terminate_backend(pid, 5000) {ours}")) >= 3
        for _ in range(3):
            async with pools.app(pair[0]) as conn:
                await conn.execute("SELECT 1")
            async with pools.statement("ingest") as conn:
                await conn.execute("SELECT 1")
    finally:
        await pools.close()


async def test_a_full_pool_refuses_in_time(database: Database, pair: Pair) -> None:
    from psycopg_pool import PoolTimeout

    pools = Pools(
        database.login_dsn, limits={"app": PoolLimits(size=1, statement_ms=1000, lock_ms=100, wait_seconds=0.1)}
    )
    await pools.open()
    try:
        async with pools.app(pair[0]) as conn:
            await conn.execute("SELECT 1")
            with pytest.raises(PoolTimeout):
                async with pools.app(pair[1]):
                    pass
    finally:
        await pools.close()


def test_the_pooler_of_these_tests_really_leaks_session_settings(database: Database, pooler: Pooler) -> None:
    """Without this the pooler mode above would prove nothing: a session-level stamp reaches other clients."""
    dsn = f"postgresql://hub_login@/{database.name}?host={pooler.folder}&port={PORT}"
    with psycopg.connect(dsn, autocommit=True) as first, psycopg.connect(dsn, autocommit=True) as second:
        for _ in range(pooler.size):
            first.execute("SELECT set_config('hub.leak', 'seen', false)")
        found = [second.execute("SELECT current_setting('hub.leak', true)").fetchone() for _ in range(pooler.size)]
        assert ("seen",) in found
        for _ in range(pooler.size):
            first.execute("SELECT set_config('hub.leak', '', false)")


async def test_a_pipeline_sends_once_and_fails_like_any_other(pools: Pools, pair: Pair) -> None:
    async with pools.app(pair[0]) as conn:
        async with conn.pipeline():
            cursors = [await conn.execute("SELECT %s::int", [number]) for number in range(200)]
            assert await cursors[3].fetchone() == (3,), "what waits is sent when an answer is wanted"
        assert [await cursor.fetchone() for cursor in cursors[-2:]] == [(198,), (199,)]
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with pools.app(pair[0]) as conn, conn.pipeline():
            await conn.execute("UPDATE quota SET used = 70707")
            await conn.execute("SELECT 1 / 0")
            await conn.execute("SELECT 'never'")
            await conn.execute("COMMIT")
    async with pools.app(pair[0]) as conn:
        row = await (await conn.execute("SELECT count(*) FROM quota WHERE used = 70707")).fetchone()
        assert row == (0,)


async def test_long_statements_are_read_once(pools: Pools, pair: Pair) -> None:
    long = f"SELECT %(n)s::int /* {'x' * 16_000} */"
    async with pools.app(pair[0]) as conn:
        await conn.execute(long, {"n": 1})
        read = _queries._query2pg.cache_info()
        await conn.execute(long, {"n": 2})
    assert _queries._query2pg.cache_info().hits == read.hits + 1


async def test_plans_are_made_anew_and_more_and_more_seldom(
    pools: Pools, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.db.pools.FIRST_REPLAN_SECONDS", 0.0)
    asked = "SELECT count(*) FROM quota WHERE tenant_id = %s"
    for _ in range(5):  # the first of a connection discards, the others keep
        async with pools.app(pair[0]) as conn:
            cursor = await conn.execute(asked, (pair[0],), prepare=True)
            assert await cursor.fetchone() is not None
        async with pools.statement("ingest") as conn:
            await conn.execute("SELECT 1", prepare=True)
        assert await pools.look(pair[0], (asked, (pair[0],)))
    connection = HubConnection.__new__(HubConnection)
    connection._replan_wait, connection._replan_at = 2.0, 0.0
    assert [connection.plans_are_old() for _ in range(2)] == [True, False]
    connection._replan_at = 0.0
    assert connection.plans_are_old()
    assert connection._replan_wait == 8.0
