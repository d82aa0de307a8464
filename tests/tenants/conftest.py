"""An embedded server with roles and migrated tables for this package alone, and two tenants in it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from hub.embedded import Layout, Servers, postgres
from tenants.db.pools import Pools
from tenants.db.rls import Grant, Protect
from tenants.db.roles import create_roles
from tenants.plans import create_tenant
from tests.tenants.pooler import PORT, Pooler, running_pooler
from tests.tenants.support import Database, Table, insert_row, tenant_tables


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(Layout(Path(tmp_path_factory.mktemp("tenants")) / "data"), postgres_settings={"fsync": "off"})
    servers.start()
    yield servers
    servers.stop()


def _address(alias: str, **values: Any) -> None:
    connections.settings[alias].update(values)


@pytest.fixture(scope="session")
def database(servers: Servers) -> Iterator[Database]:
    layout = servers.layout
    postgres.ensure_database(layout.superuser_dsn, "hub")
    create_roles(layout.superuser_dsn, prefix="hub", databases=["hub"])
    for alias, user in (("default", "hub_login"), ("owner", "hub_owner")):
        _address(alias, NAME="hub", USER=user, HOST=str(layout.run_dir), PORT="5432")
    call_command("migrate", database="owner", verbosity=0)
    found = Database(layout)
    _make_probe(found)
    yield found
    connections.close_all()


def _make_probe(database: Database) -> None:
    """A table with what no table here has yet: a lexical index and vectors."""
    with psycopg.connect(database.owner) as conn:
        conn.execute(
            "CREATE TABLE probe (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, words tsvector, place vector(3))"
        )
        conn.execute("CREATE INDEX ON probe USING hnsw (place vector_l2_ops)")
        conn.execute("CREATE INDEX ON probe USING gin (words)")
        for statement in Protect("probe", queue=Grant(select=("id", "tenant_id"))).statements():
            conn.execute(statement)


@pytest.fixture(scope="session")
def pooler(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooler]:
    folder = tmp_path_factory.mktemp("p")
    socket = database.layout.run_dir / ".s.PGSQL.5432"
    with running_pooler(server_socket=socket, folder=folder) as running:
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
    if hasattr(connections._connections, "default"):  # type: ignore[attr-defined]
        connections["default"].close()
        del connections["default"]
    _address("default", **values)


@pytest.fixture(scope="session")
def tables(database: Database) -> list[Table]:
    with psycopg.connect(database.superuser) as conn:
        return tenant_tables(conn)


@pytest.fixture(scope="session")
def pair(database: Database, tables: list[Table]) -> tuple[UUID, UUID]:
    """Two tenants with a row in every table and in one partition of each partitioned table."""
    first, second = (create_tenant(slug, slug).id for slug in ("first", "second"))
    connections["default"].close()
    with psycopg.connect(database.superuser) as conn:
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
    dsn = database.login
    if local:
        folder = request.getfixturevalue("pooler").folder
        dsn = f"postgresql://hub_login@/hub?host={folder}&port={PORT}"
    pools = Pools(dsn, prefix="hub", pooler="transaction" if local else "", direct_dsn=database.login)
    await pools.open()
    yield pools
    await pools.close()
