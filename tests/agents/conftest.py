"""A polite model server, and one tenant on the run's PostgreSQL and Valkey, for the tests that ask."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from redis.asyncio import Redis

from agents.providers.wire import Wire
from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import Pools
from tests.conftest import Database
from tests.memory.world import make_tenant
from tests.support.model_plans import Plan
from tests.support.model_server import ModelServer
from tests.support.wire import open_wire


@dataclass
class World:
    """One process's means to reach the servers, and a tenant there."""

    database: Database
    tenant_id: UUID
    pools: Pools
    vault: Vault
    redis: Redis


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(Plan(kind="text", text="Good day to you.")) as running:
        yield running


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with open_wire() as opened:
        yield opened


@pytest.fixture
async def world(database: Database, redis_url: str) -> AsyncIterator[World]:
    pools = Pools(database.login_dsn)
    vault = Vault(MasterKeys(bytes(range(32))), pools)
    redis = Redis.from_url(redis_url)
    await pools.open()
    yield World(database, make_tenant(database.superuser_dsn), pools, vault, redis)
    await redis.aclose()
    await pools.close()
