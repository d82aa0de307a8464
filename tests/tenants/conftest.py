"""Two tenants with a row in every tenant table, and every way to connect."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from asgiref.sync import SyncToAsync
from django.db import connections
from django.test import override_settings
from psycopg import sql

from hub.embedded import Layout
from hub.embedded.layout import POSTGRES_PORT
from tenants.db.pools import Pools
from tenants.db.rls import Grant, Protect
from tests.conftest import Database
from tests.tenants.pooler import PORT, Pooler, running_pooler
from tests.tenants.support import Table, close, insert_row, tenant_tables


def _address(alias: str, **values: Any) -> None:
    connections.settings[alias].update(values)


@pytest.fixture(scope="session")
def probed(database: Database) -> Database:
    """The database with one more tenant table."""
    _make_probe(database)
    return database


def _make_probe(database: Database) -> None:
    """A table with what no table here has yet: a lexical index and vectors."""
    with psycopg.connect(database.owner_dsn) as conn:
        conn.execute(
            "CREATE TABLE probe (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, words tsvector, place vector(3))"
        )
        conn.execute("CREATE INDEX ON probe USING hnsw (place vector_l2_ops)")
        conn.execute("CREATE INDEX ON probe USING gin (words)")
        for statement in Protect("probe", queue=Grant(select=("id", "tenant_id"))).statements():
            conn.execute(statement)


@pytest.fixture(scope="session")
def pooler(database: Database, servers: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooler]:
    socket = servers.run_dir / f".s.PGSQL.{POSTGRES_PORT}"
    folder = tmp_path_factory.mktemp("p")
    with running_pooler(server_socket=socket, folder=folder, database=database.name) as running:
        yield running


@pytest.fixture(params=["direct", "kept", "transaction"])
def mode(request: pytest.FixtureRequest, database: Database) -> Iterator[str]:
    """Django's connection: its own, one from Django's pool, or one behind a transaction pooler."""
    options = dict(connections.settings["default"]["OPTIONS"])
    address = {name: connections.settings["default"][name] for name in ("HOST", "PORT")}
    changes: dict[str, Any] = {}
    if request.param == "kept":
        changes = {"OPTIONS": {**options, "pool": {"min_size": 1, "max_size": 3, "timeout": 10}}}
    if request.param == "transaction":
        changes = {"HOST": str(request.getfixturevalue("pooler").folder), "PORT": str(PORT)}
    _renew(**changes)
    with override_settings(HUB_DATABASE_POOLER="transaction" if request.param == "transaction" else ""):
        yield str(request.param)
        connections["default"].close()
        if request.param == "kept":
            connections["default"].close_pool()  # type: ignore[attr-defined]
    _renew(OPTIONS=options, DISABLE_SERVER_SIDE_CURSORS=False, **address)


def _renew(**values: Any) -> None:
    # The thread of `sync_to_async` outlives a test, and so would a connection that was made the old way.
    SyncToAsync.single_thread_executor.submit(close).result()
    if hasattr(connections._connections, "default"):  # type: ignore[attr-defined]
        connections["default"].close()
        del connections["default"]
    _address("default", **values)


@pytest.fixture(scope="session")
def tables(probed: Database) -> list[Table]:
    with psycopg.connect(probed.superuser_dsn) as conn:
        return tenant_tables(conn)


_pairs: list[tuple[UUID, UUID]] = []


@pytest.fixture
def pair(probed: Database, tables: list[Table]) -> tuple[UUID, UUID]:
    """Two tenants with a row in every table; made anew when another test has emptied the tables."""
    with psycopg.connect(probed.superuser_dsn) as conn:
        if not _pairs or not all(_has_both(conn, table, _pairs[-1]) for table in tables if not table.is_partition):
            _pairs.append(_make_pair(conn, tables))
    return _pairs[-1]


def _has_both(conn: psycopg.Connection[Any], table: Table, pair: tuple[UUID, UUID]) -> bool:
    column = sql.Identifier(table.column)
    query = sql.SQL("SELECT count(DISTINCT {c}) FROM {t} WHERE {c} = ANY(%s)").format(c=column, t=table.ident)
    return conn.execute(query, (list(pair),)).fetchone() == (2,)


def _make_pair(conn: psycopg.Connection[Any], tables: list[Table]) -> tuple[UUID, UUID]:
    from tenants.plans import create_tenant  # models wait for the settings

    first, second = (create_tenant(f"t{uuid4().hex[:12]}", "Tenant").id for _ in range(2))
    connections["default"].close()
    conn.execute("SET session_replication_role = replica")
    for table in tables:
        for tenant_id in (first, second):
            if not table.is_partition and table.name not in ("tenant", "quota"):
                insert_row(conn, table, tenant_id)
    conn.execute("UPDATE probe SET words = 'secret'::tsvector, place = '[1,0,0]'")
    return first, second


@pytest.fixture(params=["direct", "transaction"])
async def pools(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Pools]:
    local = request.param == "transaction"
    dsn = database.login_dsn
    if local:
        folder = request.getfixturevalue("pooler").folder
        dsn = f"postgresql://hub_login@/{database.name}?host={folder}&port={PORT}"
    pools = Pools(dsn, prefix="hub", pooler="transaction" if local else "", direct_dsn=database.login_dsn)
    await pools.open()
    yield pools
    await pools.close()
