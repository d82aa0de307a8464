"""An embedded PostgreSQL and Valkey with migrated tables for this package, and a tenant or two in it."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.memory.settings")

import django
import psycopg
import pytest
from redis.asyncio import Redis

from hub.embedded import Layout, Servers, postgres

django.setup()

from django.core.management import call_command
from django.db import connections

from memory.embeddings.minilm import MiniLM
from memory.memory import Memory
from memory.redis_cache import Cache
from memory.summarise import Digester
from memory.types import Batch, Buffer, Exchange, Key, Line, Policy
from tenants.context import tenant_scope
from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import Pools
from tenants.db.roles import create_roles
from tenants.ids import uuid7
from tenants.models import Tenant

MASTER = MasterKeys(bytes(range(32)))
START = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    servers = Servers(Layout(Path(tmp_path_factory.mktemp("memory")) / "data"), postgres_settings={"fsync": "off"})
    servers.start()
    found = servers.layout
    migrate(found)
    yield found
    connections.close_all()
    servers.stop()


def migrate(layout: Layout) -> None:
    postgres.ensure_database(layout.superuser_dsn, "hub")
    create_roles(layout.superuser_dsn, prefix="hub", databases=["hub"])
    for alias, user in (("default", "hub_login"), ("owner", "hub_owner")):
        connections[alias].settings_dict.update(NAME="hub", USER=user, HOST=str(layout.run_dir), PORT="5432")
    call_command("migrate", database="owner", verbosity=0)


def make_tenant(layout: Layout) -> UUID:
    tenant_id = uuid7()
    with psycopg.connect(layout.dsn("postgres", database="hub"), autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenant (id, name, slug, plan_id, status, zone, suite, language) "
            "SELECT %s, 'T', %s, id, 'active', 'UTC', 'aes256gcm', 'en' FROM plan LIMIT 1",
            [tenant_id, str(tenant_id)],
        )
    return tenant_id


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> MiniLM:
    cache = os.environ.get("HUB_EMBEDDING_CACHE")
    return MiniLM(Path(cache) if cache else tmp_path_factory.mktemp("model"))


@dataclass
class World:
    """One process's memory over the real servers, and the means to talk in it."""

    layout: Layout
    tenant_id: UUID
    pools: Pools
    vault: Vault
    redis: Redis
    memory: Memory
    digester: Digester
    batches: list[Batch] = field(default_factory=list)

    def key(self, *, subject: UUID | None = None) -> Key:
        return Key(tenant_id=self.tenant_id, session_id=uuid7(), subject_id=subject or uuid7())

    async def say(self, key: Key, lines: list[Line], policy: Policy, buffer: Buffer | None = None) -> Buffer:
        """One turn: fold, append in a transaction, cache."""
        held = buffer or await self.memory.open(key, policy)
        after, batch = self.memory.fold(held, lines, policy, key)
        exchange = Exchange(key=key, lines=lines, batch=batch)
        async with self.pools.app(key.tenant_id) as conn:
            await self.memory.append(conn, [exchange])
        await self.memory.cache(exchange, after)
        if batch is not None:
            self.batches.append(batch)
        return after

    async def digest(self) -> list[bool]:
        waiting, self.batches = self.batches, []
        return [await self.digester.run(batch.key.tenant_id, batch.id) for batch in waiting]

    async def rows(self, query: str, *params: object) -> list[tuple[object, ...]]:
        async with self.pools.app(self.tenant_id) as conn:
            return await (await conn.execute(query, params)).fetchall()


def round_of(number: int, asked: str, answered: str, *, speaker: str = "Ann") -> list[Line]:
    at = START + timedelta(minutes=number)
    return [
        Line(2 * number + 1, "user", asked, speaker, at),
        Line(2 * number + 2, "assistant", answered, "", at + timedelta(seconds=20)),
    ]


def open_world(layout: Layout, tenant_id: UUID, embedder: MiniLM) -> World:
    """A process's worth of memory; the caller opens and closes the pools."""
    pools = Pools(layout.dsn("hub_login", database="hub"))
    vault = Vault(MASTER, pools)
    redis = Redis.from_url(layout.redis_url)
    memory = Memory(pools=pools, vault=vault, embedder=embedder, redis=redis)
    digester = Digester(pools=pools, vault=vault, embedder=embedder, cache=Cache(redis, vault))
    return World(layout, tenant_id, pools, vault, redis, memory, digester)


@pytest.fixture
async def world(layout: Layout, embedder: MiniLM) -> AsyncIterator[World]:
    made = open_world(layout, make_tenant(layout), embedder)
    await made.pools.open()
    yield made
    await made.redis.aclose()
    await made.pools.close()


__all__ = ["START", "Tenant", "World", "make_tenant", "migrate", "open_world", "round_of", "tenant_scope"]
