"""Memory as the agent's runtime sees it: open a session's buffer, recall, append what was committed, cache behind
the reply."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from memory import buffer as buffers
from memory import retracting, store
from memory.embeddings.base import Embedder, EmbeddingFailed
from memory.recall import LONGEST_QUERY, Ask, Recaller
from memory.redis_cache import Cache
from memory.scoring import Fusion
from memory.shown import Shown
from memory.types import Batch, Buffer, Exchange, Key, Line, Policy, Recall
from tenants.crypto import Vault
from tenants.db.pools import Pools

log = structlog.get_logger(__name__)

WARM_AFTER_SECONDS = 1.0


class Memory:
    """One per process. Redis may be absent or empty at any time: PostgreSQL holds everything that counts."""

    def __init__(
        self,
        *,
        pools: Pools,
        vault: Vault,
        embedder: Embedder,
        redis: "Redis | None" = None,
        fusion: Fusion = "score",
    ) -> None:
        self._pools = pools
        self._vault = vault
        self._embedder = embedder
        self._cache = Cache(redis, vault) if redis is not None else None
        self._shown = Shown()
        self._recaller = Recaller(pools=pools, vault=vault, embedder=embedder, shown=self._shown, cache=self._cache)
        self._fusion: Fusion = fusion
        self._writing: set[asyncio.Task[None]] = set()
        self._warming: asyncio.Task[None] | None = None

    async def warm(self) -> None:
        """Load the sentence model, off the event loop. The Chinese dictionary comes with the first Chinese words."""
        try:
            await self._embedder.embed(["warm"])
        except EmbeddingFailed as error:
            log.warning("embedder_not_ready", reason=str(error))

    def _warm_soon(self) -> None:
        """Once somebody talks here, and behind the first answer: a process without turns stays small."""
        if self._warming is None:
            self._warming = asyncio.create_task(self._warm_behind())

    async def _warm_behind(self) -> None:
        await asyncio.sleep(WARM_AFTER_SECONDS)
        await self.warm()

    async def close(self) -> None:
        """Finish what is being written to Redis, let go of the sentence model."""
        if self._warming is not None:
            self._warming.cancel()
        await self.settled()
        await self._embedder.close()

    async def open(self, key: Key, policy: Policy, *, at_least: int = 0) -> Buffer:
        """The session's buffer: from Redis, else from PostgreSQL and written back.

        `at_least` is the last seq that the caller knows to be committed to memory: a cached buffer that has not seen it
        (its write was lost) is not used.
        """
        cached = await self.peek(key)
        return cached if cached is not None and cached.last_seq >= at_least else await self.rebuild(key, policy)

    async def peek(self, key: Key) -> Buffer | None:
        """The buffer that Redis holds, if it answers; the caller compares its `last_seq` with what it knows."""
        await self._vault.load(key.tenant_id)
        return await self._cache.buffer(key, at_least=0) if self._cache else None

    async def rebuild(self, key: Key, policy: Policy) -> Buffer:
        """The buffer from PostgreSQL in one round trip; Redis gets it in the background."""
        await self._vault.load(key.tenant_id)
        buffer = buffers.rebuild(await store.session_lines(self._pools, self._vault, key), policy)
        self._write_behind(key, buffer)
        return buffer

    def meet(self, key: Key) -> None:
        """The subject was met by this session's message, now: no store need be asked what is remembered of it."""
        self._shown.meet(key)

    @staticmethod
    def fold(buffer: Buffer, lines: Sequence[Line], policy: Policy, key: Key) -> tuple[Buffer, Batch | None]:
        """The buffer after these lines, and the batch that they filled. Pure: the summary node's decision."""
        return buffers.fold(buffer, lines, policy, key)

    async def recall(
        self, key: Key, query: str, policy: Policy, *, buffer: Buffer | None = None, fusion: Fusion | None = None
    ) -> Recall:
        """What is remembered about `query`, less the lines that `buffer` (else the stored one) puts into the prompt."""
        text = query.strip()[:LONGEST_QUERY]
        if not (policy.enabled and text and policy.recall_limit > 0):
            return Recall()
        self._warm_soon()
        held = buffer if buffer is not None else await self.open(key, policy)
        await self._vault.load(key.tenant_id)
        shown = held.lines[0].seq if held.lines else held.last_seq + 1
        ask = Ask(key=key, query=text, policy=policy, in_prompt_from=shown, fusion=fusion or self._fusion)
        return await self._recaller.recall(ask)

    async def append(self, conn: store.Connection, exchanges: Sequence[Exchange]) -> None:
        """Store lines and batch orders of committed turns in the caller's tenant transaction; again is as once."""
        for tenant_id in {exchange.key.tenant_id for exchange in exchanges}:
            await self._vault.load(tenant_id)
        for exchange in exchanges:
            self._shown.appended(exchange)
        await store.insert(conn, self._vault, exchanges)

    def cache(self, exchange: Exchange, buffer: Buffer) -> None:
        """Put the buffer into Redis after the commit and behind its caller; a failure costs the next turn one read."""
        self._shown.appended(exchange)
        self._write_behind(exchange.key, buffer)

    async def retract(self, key: Key, *, first: int, end: int) -> None:
        """Take back a session's lines with `first <= seq < end` that are not condensed yet, also from recall."""
        async with self._pools.app(key.tenant_id) as conn:
            await retracting.retract(conn, key, first=first, end=end)
        await self.recheck(key.tenant_id, key.subject_id)

    async def recheck(self, tenant_id: UUID, subject_id: UUID) -> None:
        """What is remembered of the subject was changed: let no earlier look or answer be used again."""
        self._shown.void(tenant_id, subject_id)
        if self._cache is None:
            return
        try:
            await self._cache.drop_results(tenant_id, subject_id)
        except RedisError as error:
            log.warning("results_not_dropped", reason=type(error).__name__)

    def _write_behind(self, key: Key, buffer: Buffer) -> None:
        writing = asyncio.create_task(self._write_back(key, buffer))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def settled(self) -> None:
        """When what is being written to Redis has been."""
        await asyncio.gather(*self._writing)

    async def _write_back(self, key: Key, buffer: Buffer) -> None:
        if self._cache is None:
            return
        try:
            await self._vault.load(key.tenant_id)
            await self._cache.put_buffer(key, buffer)
        except RedisError as error:
            log.warning("buffer_not_cached", session_id=str(key.session_id), reason=type(error).__name__)
