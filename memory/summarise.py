"""What a Celery worker does with a frozen batch: read its lines, tell them short, embed, pack, store once."""

import asyncio
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import numpy as np
import structlog
from redis.exceptions import RedisError

from memory import extractive, store
from memory.buffer import last_rounds
from memory.embeddings.base import Embedder, EmbeddingFailed, Vectors
from memory.packing import pack_lines
from memory.redis_cache import Cache
from memory.shelving import embedded_texts, shelve
from memory.types import Batch, Line
from tenants.crypto import Vault
from tenants.db.pools import Pools

log = structlog.get_logger(__name__)

MODEL_ATTEMPTS = 3
"""Sends after which rules write the summary that the model would not."""
MOST_ATTEMPTS = 8
MODEL_SECONDS = 120.0
LONGEST_SUMMARY = 8_000


class SummaryFailed(Exception):
    """The agent's model gave no summary now; the batch is tried again."""


class Summariser(Protocol):
    """The hub's way to ask the agent's model. It may raise SummaryFailed; the time limit is the worker's."""

    async def __call__(self, batch: Batch, lines: Sequence[Line]) -> str | None:
        """The summary, or None where this agent has no model."""


async def no_model(batch: Batch, lines: Sequence[Line]) -> str | None:  # noqa: ARG001 - the protocol's shape
    """For hubs and tests without any model."""
    return None


class Digester:
    """Executes batches. Safe to run twice or at two places at once: the batch's id becomes the one summary's id."""

    def __init__(
        self,
        *,
        pools: Pools,
        vault: Vault,
        embedder: Embedder,
        cache: Cache | None = None,
        summariser: Summariser = no_model,
    ) -> None:
        self._pools = pools
        self._vault = vault
        self._embedder = embedder
        self._cache = cache
        self._summariser = summariser

    async def run(self, tenant_id: UUID, batch_id: UUID) -> bool:
        """Summarise one batch. False when there was nothing to do; what fails is given back and swept up later."""
        await self._vault.load(tenant_id)
        async with self._pools.app(tenant_id) as conn:
            claimed = await store.claim(conn, tenant_id, batch_id)
            lines = await store.batch_lines(conn, self._vault, claimed[0]) if claimed else []
        if claimed is None:
            return False
        batch, attempts = claimed
        try:
            digest = await self._digest(batch, lines, attempts=attempts) if lines else None
        except (SummaryFailed, EmbeddingFailed, TimeoutError) as error:
            async with self._pools.app(tenant_id) as conn:
                await store.give_back(conn, batch, error=type(error).__name__, final=attempts >= MOST_ATTEMPTS)
            log.warning("summary_postponed", batch_id=str(batch_id), reason=type(error).__name__, attempts=attempts)
            return False
        kept = last_rounds(lines, batch.policy.keep_rounds)
        keep_from = kept[0].seq if kept else batch.last_seq + 1
        async with self._pools.app(tenant_id) as conn:
            landed = await store.finish(conn, self._vault, batch, digest, keep_from=keep_from)
        if landed:
            await self._forget_results(batch)
        return landed

    async def _digest(self, batch: Batch, lines: Sequence[Line], *, attempts: int) -> store.Digest:
        text, by_model = await self._tell(batch, lines, attempts=attempts)
        vectors: Vectors | None = None
        if batch.policy.vectors and self._embedder.identity and attempts < MOST_ATTEMPTS:
            vectors = await self._embedder.embed([*embedded_texts(lines), text])
        shelf = await asyncio.to_thread(
            shelve, self._vault, batch.key.tenant_id, lines, None if vectors is None else vectors[:-1]
        )
        return store.Digest(
            text=text,
            by_model=by_model,
            shelf=shelf,
            body=pack_lines(lines),
            vector=None if vectors is None else np.asarray(vectors[-1]).tolist(),
            embedder=self._embedder.identity if vectors is not None else "",
        )

    async def _tell(self, batch: Batch, lines: Sequence[Line], *, attempts: int) -> tuple[str, bool]:
        if attempts < MODEL_ATTEMPTS:
            async with asyncio.timeout(MODEL_SECONDS):
                written = await self._summariser(batch, lines)
            if written and written.strip():
                return written.strip()[:LONGEST_SUMMARY], True
        return await asyncio.to_thread(extractive.summarise, lines, batch.policy), False

    async def _forget_results(self, batch: Batch) -> None:
        if self._cache is None:
            return
        try:
            await self._cache.drop_results(batch.key.tenant_id, batch.key.subject_id)
        except RedisError as error:  # they expire within five minutes
            log.warning("recall_cache_not_dropped", reason=type(error).__name__)
