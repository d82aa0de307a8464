"""No row of another tenant is ever seen or changed: every tenant table of the catalogue, every kind of connection."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, ProgrammingError, connection, transaction
from psycopg import sql

from tenants.context import NoTenant, ops_scope, tenant_scope
from tenants.db.backend.base import ScopeChanged
from tenants.ids import uuid7
from tenants.models import Quota, Tenant
from tests.tenants.support import Table, close

Pair = tuple[UUID, UUID]
APPEND_ONLY = ("audit",)
"""No role may update or delete here at all, which `test_audit` and the privileges check."""


def seen(table: Table) -> set[UUID]:
    """Tenants whose rows this thread's connection sees."""
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT DISTINCT "{table.column}" FROM "{table.name}"')
        return {row[0] for row in cursor.fetchall()}


def everywhere(tables: list[Table]) -> set[UUID]:
    return set().union(*(seen(table) for table in tables))


def test_without_a_tenant_nothing_is_seen(mode: str, tables: list[Table], pair: Pair) -> None:
    assert len(tables) > 10
    assert {table.name: seen(table) for table in tables} == {table.name: set() for table in tables}


def test_a_tenant_sees_its_own_rows_and_no_others(mode: str, tables: list[Table], pair: Pair) -> None:
    for tenant_id in (*pair, *pair):
        with tenant_scope(tenant_id):
            for table in tables:
                assert seen(table) <= {tenant_id}, table
                if not table.is_partition:
                    assert seen(table) == {tenant_id}, table
    assert everywhere(tables) == set()


def test_asking_for_another_tenants_rows_finds_none(mode: str, tables: list[Table], pair: Pair) -> None:
    with tenant_scope(pair[0]), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table.name}" WHERE "{table.column}" = %s', [pair[1]])
            assert cursor.fetchone() == (0,), table


def test_a_stale_connection_carries_nothing_over(mode: str, tables: list[Table], pair: Pair) -> None:
    for _ in range(4):
        with tenant_scope(pair[0]):
            assert everywhere(tables) == {pair[0]}
        connection.close()  # with a pool: handed back as it is
        assert everywhere(tables) == set()
        with tenant_scope(pair[1]):
            assert everywhere(tables) == {pair[1]}


def test_a_rollback_does_not_bring_a_tenant_back(mode: str, tables: list[Table], pair: Pair) -> None:
    with tenant_scope(pair[0]):
        assert everywhere(tables) == {pair[0]}
    for other, expected in ((pair[1], {pair[1]}), (None, set())):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            with tenant_scope(pair[0]):
                assert everywhere(tables) == {pair[0]}
            raise ZeroDivisionError
        if other is None:
            assert everywhere(tables) == expected
        else:
            with tenant_scope(other):
                assert everywhere(tables) == expected


def test_savepoints_follow_the_scope(mode: str, tables: list[Table], pair: Pair) -> None:
    with transaction.atomic():
        with tenant_scope(pair[0]):
            assert everywhere(tables) == {pair[0]}
            with pytest.raises(ZeroDivisionError), tenant_scope(pair[1]), transaction.atomic():
                assert everywhere(tables) == {pair[1]}
                raise ZeroDivisionError
            assert everywhere(tables) == {pair[0]}
            with tenant_scope(pair[1]), transaction.atomic():
                assert everywhere(tables) == {pair[1]}
            assert everywhere(tables) == {pair[0]}
        assert everywhere(tables) == set()


def test_a_failed_statement_does_not_unlock_the_next(mode: str, tables: list[Table], pair: Pair) -> None:
    with tenant_scope(pair[0]), pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
    assert everywhere(tables) == set()


@pytest.mark.parametrize("sensitive", [True, False])
async def test_async_tasks_keep_their_tenants(mode: str, tables: list[Table], pair: Pair, sensitive: bool) -> None:
    quota = [table for table in tables if table.name in ("quota", "usage")]

    def ask() -> set[UUID]:
        try:
            return everywhere(quota)
        finally:
            if not sensitive:
                connection.close()

    async def work(tenant_id: UUID) -> None:
        with tenant_scope(tenant_id):
            for _ in range(3):
                assert await sync_to_async(ask, thread_sensitive=sensitive)() == {tenant_id}
                await asyncio.sleep(0)

    await asyncio.gather(*(work(pair[index % 2]) for index in range(20)))
    assert await sync_to_async(ask, thread_sensitive=sensitive)() == set()
    await sync_to_async(close)()


async def test_the_async_orm_is_stamped(mode: str, pair: Pair) -> None:
    for tenant_id in pair:
        with tenant_scope(tenant_id):
            assert [quota.tenant_id async for quota in Quota.objects.all()] == [tenant_id] * 5
            assert await Quota.objects.acount() == 5
    with pytest.raises(NoTenant):
        await Quota.objects.acount()
    await sync_to_async(close)()


def _in_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    return found[0]


def test_a_new_thread_has_no_tenant(mode: str, tables: list[Table], pair: Pair) -> None:
    def as_second() -> set[UUID]:
        with tenant_scope(pair[1]):
            return everywhere(tables)

    with tenant_scope(pair[0]):
        assert everywhere(tables) == {pair[0]}
        assert _in_thread(lambda: everywhere(tables)) == set()
        assert _in_thread(as_second) == {pair[1]}
        assert everywhere(tables) == {pair[0]}


def test_a_workers_tasks_do_not_inherit(mode: str, tables: list[Table], pair: Pair) -> None:
    """A Celery worker runs one task after another in the same thread, on the same connection, also after failures."""

    def task(tenant_id: UUID | None, fail: bool) -> set[UUID]:
        if tenant_id is None:
            return everywhere(tables)
        with tenant_scope(tenant_id):
            found = everywhere(tables)
            if fail:
                raise ZeroDivisionError
            return found

    with ThreadPoolExecutor(1) as worker:
        for tenant_id in (*pair, *pair):
            assert worker.submit(task, tenant_id, False).result(20) == {tenant_id}
            with pytest.raises(ZeroDivisionError):
                worker.submit(task, tenant_id, True).result(20)
            assert worker.submit(task, None, False).result(20) == set()
        worker.submit(close).result(20)


def test_updates_and_deletes_do_not_reach_over(mode: str, tables: list[Table], pair: Pair, database: Any) -> None:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        before = {table.name: _rows(conn, table, pair[1]) for table in tables}
        for table in tables:
            if table.name in APPEND_ONLY:
                continue
            with tenant_scope(pair[0]), transaction.atomic(), connection.cursor() as cursor:
                name, column = f'"{table.name}"', f'"{table.column}"'
                cursor.execute(f"UPDATE {name} SET {column} = {column} WHERE {column} = %s", [pair[1]])
                assert cursor.rowcount == 0, table
                cursor.execute(f"DELETE FROM {name} WHERE {column} = %s", [pair[1]])
                assert cursor.rowcount == 0, table
        assert {table.name: _rows(conn, table, pair[1]) for table in tables} == before


@contextmanager
def _refused_as(tenant_id: UUID) -> Iterator[Any]:
    """A transaction of this tenant that a policy ends."""
    with (
        tenant_scope(tenant_id),
        pytest.raises(ProgrammingError, match="row-level security"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        yield cursor


def test_rows_are_not_written_into_another_tenant(mode: str, tables: list[Table], pair: Pair) -> None:
    for table in tables:
        name, column = f'"{table.name}"', f'"{table.column}"'
        for tenant_id in (pair[1], None):
            with _refused_as(pair[0]) as cursor:
                values: dict[str, UUID | None] = {"id": uuid7()} if table.has_id else {}
                values[table.column] = tenant_id or (uuid7() if table.column == "id" else None)
                names, marks = ", ".join(f'"{key}"' for key in values), ", ".join(["%s"] * len(values))
                cursor.execute(f"INSERT INTO {name} ({names}) VALUES ({marks})", list(values.values()))
        if not table.is_partition and table.name not in APPEND_ONLY:
            with _refused_as(pair[0]) as cursor:
                cursor.execute(f"UPDATE {name} SET {column} = %s", [uuid7() if column == '"id"' else pair[1]])


def _rows(conn: psycopg.Connection[Any], table: Table, tenant_id: UUID) -> Any:
    query = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(table.ident, sql.Identifier(table.column))
    return conn.execute(query, (tenant_id,)).fetchone()


@pytest.mark.parametrize("index", ["on", "off"])
def test_vector_and_full_text_search_stay_inside(mode: str, pair: Pair, index: str) -> None:
    for tenant_id in (pair[0], pair[1], None):
        expected = [] if tenant_id is None else [tenant_id]
        searches = (
            "SELECT tenant_id FROM probe ORDER BY place <-> '[1,0,0]' LIMIT 10",
            "SELECT tenant_id FROM probe WHERE words @@ 'secret'::tsquery",
        )
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL enable_seqscan = {'off' if index == 'on' else 'on'}")
            cursor.execute("SET LOCAL hnsw.iterative_scan = strict_order")
            for search in searches:
                if tenant_id is None:
                    rows = _fetch(search)
                else:
                    with tenant_scope(tenant_id):
                        rows = _fetch(search)
                assert rows == expected


def _fetch(query: str) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [row[0] for row in cursor.fetchall()]


def test_an_operator_reads_all_and_writes_nothing(mode: str, tables: list[Table], pair: Pair) -> None:
    for table in tables:
        with ops_scope("isolation suite"):
            assert seen(table) >= (set() if table.is_partition else set(pair)), table
            with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
                cursor.execute(f'DELETE FROM "{table.name}"')
        assert seen(table) == set()


def test_managers_refuse_before_the_database_does(mode: str, pair: Pair) -> None:
    everything = Quota.objects.all()  # building a query is not asking
    with pytest.raises(NoTenant):
        list(everything)
    with pytest.raises(NoTenant):
        Quota.objects.update(used=1)
    with tenant_scope(pair[0]):
        assert {quota.tenant_id for quota in everything.all()} == {pair[0]}
        assert not Quota.objects.filter(tenant_id=pair[1]).exists()
    with ops_scope("isolation suite"):
        assert {quota.tenant_id for quota in everything.all()} >= set(pair)
    assert not Tenant.objects.exists()


def test_changing_the_tenant_under_an_open_server_side_cursor_is_refused(mode: str, pair: Pair) -> None:
    if mode == "transaction":
        pytest.skip("server-side cursors are off behind a transaction pooler")
    with transaction.atomic(), tenant_scope(pair[0]):
        rows = Quota.objects.iterator(chunk_size=1)
        assert next(rows).tenant_id == pair[0]
        with tenant_scope(pair[1]), pytest.raises(ScopeChanged):
            Quota.objects.count()
        assert {row.tenant_id for row in rows} == {pair[0]}
