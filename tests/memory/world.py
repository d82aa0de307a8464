"""One process's memory over real servers, for tests and benchmarks alike."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from redis.asyncio import Redis

from memory.embeddings.minilm import MiniLM
from memory.memory import Memory
from memory.redis_cache import Cache
from memory.summarise import Digester
from memory.types import Batch, Buffer, Exchange, Key, Line, Policy
from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import Pools
from tenants.ids import uuid7

MASTER = MasterKeys(bytes(range(32)))
START = datetime(2026, 3, 1, 9, tzinfo=UTC)


@dataclass
class World:
    """One process's memory over the real servers, and the means to talk in it."""

    superuser_dsn: str
    login_dsn: str
    redis_url: str
    tenant_id: UUID
    pools: Pools
    vault: Vault
    redis: Redis
    memory: Memory
    digester: Digester
    embedder: MiniLM
    cache: Cache
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
        self.memory.cache(exchange, after)
        await self.memory.settled()
        if batch is not None:
            self.batches.append(batch)
        return after

    def twin(self, embedder: MiniLM) -> "World":
        """Another process on the same servers: it shares nothing in memory with this one."""
        return open_world(
            self.tenant_id,
            embedder,
            superuser_dsn=self.superuser_dsn,
            login_dsn=self.login_dsn,
            redis_url=self.redis_url,
        )

    async def digest(self) -> list[bool]:
        waiting, self.batches = self.batches, []
        return [await self.digester.run(batch.key.tenant_id, batch.id) for batch in waiting]

    async def rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        async with self.pools.app(self.tenant_id) as conn:
            return await (await conn.execute(query, params)).fetchall()


def round_of(number: int, asked: str, answered: str, *, speaker: str = "Ann") -> list[Line]:
    at = START + timedelta(minutes=number)
    return [
        Line(2 * number + 1, "user", asked, speaker, at),
        Line(2 * number + 2, "assistant", answered, "", at + timedelta(seconds=20)),
    ]


def open_world(tenant_id: UUID, embedder: MiniLM, *, superuser_dsn: str, login_dsn: str, redis_url: str) -> World:
    """A process's worth of memory; the caller opens and closes the pools."""
    pools = Pools(login_dsn)
    vault = Vault(MASTER, pools)
    redis = Redis.from_url(redis_url)
    memory = Memory(pools=pools, vault=vault, embedder=embedder, redis=redis)
    cache = Cache(redis, vault)
    digester = Digester(pools=pools, vault=vault, embedder=embedder, cache=cache)
    return World(superuser_dsn, login_dsn, redis_url, tenant_id, pools, vault, redis, memory, digester, embedder, cache)


def make_tenant(superuser_dsn: str) -> UUID:
    """A tenant on the first plan."""
    tenant_id = uuid7()
    with psycopg.connect(superuser_dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenant (id, name, slug, plan_id, status, zone, suite, language) "
            "SELECT %s, 'T', %s, id, 'active', 'UTC', 'aes256gcm', 'en' FROM plan LIMIT 1",
            [tenant_id, str(tenant_id)],
        )
    return tenant_id
