"""An embedded PostgreSQL and Valkey with migrated tables for this package, started only for the tests that ask."""

# ruff: noqa: E402 - Django is set up before its models are imported

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.agents.settings")

import django
import psycopg
import pytest
from redis.asyncio import Redis

from hub.embedded import Layout, Servers, postgres

django.setup()

from django.core.management import call_command
from django.db import connections

from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import Pools
from tenants.db.roles import create_roles
from tenants.ids import uuid7


@dataclass
class World:
    """One tenant on real servers, and one process's means to reach them."""

    layout: Layout
    tenant_id: UUID
    pools: Pools
    vault: Vault
    redis: Redis


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    servers = Servers(Layout(Path(tmp_path_factory.mktemp("agents")) / "data"), postgres_settings={"fsync": "off"})
    servers.start()
    found = servers.layout
    postgres.ensure_database(found.superuser_dsn, "hub")
    create_roles(found.superuser_dsn, prefix="hub", databases=["hub"])
    for alias, user in (("default", "hub_login"), ("owner", "hub_owner")):
        connections[alias].settings_dict.update(NAME="hub", USER=user, HOST=str(found.run_dir), PORT="5432")
    call_command("migrate", database="owner", verbosity=0)
    yield found
    connections.close_all()
    servers.stop()


def make_tenant(layout: Layout) -> UUID:
    tenant_id = uuid7()
    with psycopg.connect(layout.dsn("postgres", database="hub"), autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenant (id, name, slug, plan_id, status, zone, suite, language) "
            "SELECT %s, 'T', %s, id, 'active', 'UTC', 'aes256gcm', 'en' FROM plan LIMIT 1",
            [tenant_id, str(tenant_id)],
        )
    return tenant_id


@pytest.fixture
async def world(layout: Layout) -> AsyncIterator[World]:
    pools = Pools(layout.dsn("hub_login", database="hub"))
    vault = Vault(MasterKeys(bytes(range(32))), pools)
    redis = Redis.from_url(layout.redis_url)
    await pools.open()
    yield World(layout, make_tenant(layout), pools, vault, redis)
    await redis.aclose()
    await pools.close()
