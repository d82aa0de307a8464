"""One tenant on the run's PostgreSQL and Valkey, for the tests that ask."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from redis.asyncio import Redis

from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import Pools
from tenants.ids import uuid7
from tests.conftest import Database


@dataclass
class World:
    """One process's means to reach the servers, and a tenant there."""

    database: Database
    tenant_id: UUID
    pools: Pools
    vault: Vault
    redis: Redis


def make_tenant(database: Database) -> UUID:
    tenant_id = uuid7()
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenant (id, name, slug, plan_id, status, zone, suite, language) "
            "SELECT %s, 'T', %s, id, 'active', 'UTC', 'aes256gcm', 'en' FROM plan LIMIT 1",
            [tenant_id, str(tenant_id)],
        )
    return tenant_id


@pytest.fixture
async def world(database: Database, redis_url: str) -> AsyncIterator[World]:
    pools = Pools(database.login_dsn)
    vault = Vault(MasterKeys(bytes(range(32))), pools)
    redis = Redis.from_url(redis_url)
    await pools.open()
    yield World(database, make_tenant(database), pools, vault, redis)
    await redis.aclose()
    await pools.close()
