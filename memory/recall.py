"""Recall: put a question to a subject's lines and hand back the best, in words, within the policy's limits."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
import structlog
from redis.exceptions import RedisError

from memory import tokens
from memory.cells import cell
from memory.embeddings.base import Embedder, EmbeddingFailed
from memory.packing import unpack_lines
from memory.phrasing import asks_for_several, declarative, name_candidates, without_names
from memory.redis_cache import Cache
from memory.scoring import Floats, Fusion, Question, score, spread
from memory.shelving import prints
from memory.shown import Shown
from memory.store import open_line
from memory.subject import MOST_FRAGMENTS, Glance, Subject, Subjects
from memory.tokens import estimate_tokens, is_chinese, tokenize, words
from memory.types import Key, Line, Policy, Recall, RecallItem
from tenants.crypto import Vault
from tenants.db.pools import Pools

log = structlog.get_logger(__name__)

LONGEST_QUERY = 2_000
SUMMARIES = 2
"""Summaries that come along at most: those a model wrote of the fragments that the best lines stand in."""
_WORDS = "SELECT id, session_id, by_model, text, body FROM summary WHERE tenant_id = %s AND id = ANY(%s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One recall: whose, what, how much, and from which seq on the session's lines stand in the prompt already."""

    key: Key
    query: str
    policy: Policy
    in_prompt_from: int
    fusion: Fusion


@dataclass(frozen=True, slots=True)
class _Words:
    session_id: UUID
    by_model: bool
    text: str
    lines: dict[int, Line]


class Recaller:
    """Answers questions from L3 and from lines on their way there."""

    def __init__(
        self, *, pools: Pools, vault: Vault, embedder: Embedder, shown: Shown, cache: Cache | None = None
    ) -> None:
        self._pools = pools
        self._vault = vault
        self._embedder = embedder
        self._cache = cache
        self._shown = shown
        self._subjects = Subjects(pools=pools, vault=vault, embedder_identity=embedder.identity)

    async def recall(self, ask: Ask) -> Recall:
        """What is remembered about the query, best first. The database's errors are the caller's to weigh."""
        started = time.perf_counter()
        if self._shown.covers(ask.key, ask.in_prompt_from):
            return Recall(items=[], timings_ms={"load": _since(started)})
        policy = ask.policy
        wanted = (policy.recall_limit, policy.recall_tokens, policy.vectors)
        asked = repr((ask.key.session_id, ask.query, *wanted, ask.fusion))
        held, glance = await self._look(ask, asked.encode())
        if held is not None:
            fresh = [item for item in held if not _in_prompt(item, ask)]
            return Recall(items=fresh, timings_ms={"cached": _since(started)})
        if glance is None:  # nothing could be found, so nothing is embedded, scored or remembered
            return Recall(items=[], timings_ms={"load": _since(started)})
        if tokens.has_cjk(ask.query) and not tokens.is_warm():
            await asyncio.to_thread(tokens.warm)
        terms = prints(self._vault, ask.key.tenant_id, tokenize(ask.query))
        subject = await self._subjects.load(ask.key, glance, terms=terms.tolist())
        loaded = time.perf_counter()
        question = await self._question(ask, terms, subject)
        embedded = time.perf_counter()
        scores = await _scores(subject, question, ask.fusion)
        scored = time.perf_counter()
        items = await self._items(ask, subject, scores)
        timings = {
            "load": (loaded - started) * 1000,
            "embed": (embedded - loaded) * 1000,
            "score": (scored - embedded) * 1000,
            "read": _since(scored),
        }
        if question.vector is not None or not self._wants_vector(ask):  # else the next one may find more
            await self._remember(ask, asked.encode(), items)
        return Recall(items=items, timings_ms=timings)

    async def _look(self, ask: Ask, asked: bytes) -> tuple[list[RecallItem] | None, Glance | None]:
        """What an equal question found lately, and what there is of the subject beyond the prompt.

        Both stores are asked at once, except where there was nothing the last time: then Redis is spared.
        """
        looked = self._shown.now()
        if self._cache is None or self._shown.covered(ask.key):
            held, glance = None, await self._subjects.look(ask.key)
        else:
            held, glance = await asyncio.gather(self._cache.results(ask.key, asked), self._subjects.look(ask.key))
        if glance.all_shown(ask.key.session_id, ask.in_prompt_from):
            self._shown.note(ask.key, lowest=glance.lowest(), looked=looked)
            return None, None
        return held, glance

    async def _question(self, ask: Ask, terms: Any, subject: Subject) -> Question:
        candidates = name_candidates(words(ask.query))
        keyed = prints(self._vault, ask.key.tenant_id, candidates)
        known = np.isin(keyed, subject.speakers())
        named = [name for name, is_known in zip(candidates, known, strict=True) if is_known]
        vector = None
        if self._wants_vector(ask):
            vector = await self._embed(without_names(declarative(ask.query), named) or ask.query)
        return Question(terms, vector, keyed[known])

    def _wants_vector(self, ask: Ask) -> bool:
        able = bool(self._embedder.identity) and (self._embedder.chinese or not is_chinese(ask.query))
        return able and ask.policy.vectors

    async def _embed(self, text: str) -> Floats | None:
        if not self._embedder.ready:  # being exported or loaded, which takes seconds: this turn finds by words
            self._embedder.prepare()
            return None
        try:
            vectors = await self._embedder.embed([text])
        except EmbeddingFailed as error:  # words alone still find most of it
            log.warning("recall_without_vectors", reason=str(error))
            return None
        return np.asarray(vectors[0], np.float32)

    async def _items(self, ask: Ask, subject: Subject, scores: Floats) -> list[RecallItem]:
        order = _order(ask, subject, scores)
        if not order:
            return []
        ids = {subject.fragments[subject.fragment_of[row]].id for row in order}
        found = await self._words(ask.key.tenant_id, [item for item in ids if item is not None])
        spoken = self._spoken(ask.key.tenant_id, subject, order)
        lines = _fitting([_line_item(subject, scores, row, found, spoken) for row in order], ask.policy)
        return _with_summaries(lines, found, ask.policy)

    def _spoken(self, tenant_id: UUID, subject: Subject, order: Sequence[int]) -> dict[tuple[UUID, int], Line]:
        """The words of the chosen lines that no summary holds yet."""
        chosen = [(subject.fragments[subject.fragment_of[row]], int(subject.seqs[row])) for row in order]
        names = [(fragment.session_id, seq) for fragment, seq in chosen if fragment.id is None]
        return {name: open_line(self._vault, tenant_id, subject.spoken[name][:5]) for name in names}

    async def _words(self, tenant_id: UUID, ids: Sequence[UUID]) -> dict[UUID, _Words]:
        if not ids:
            return {}
        [rows] = await self._pools.look(tenant_id, (_WORDS, [tenant_id, ids]))
        found = {}
        for row_id, session_id, by_model, text, body in rows:
            lines = unpack_lines(self._vault.open(cell(tenant_id, "summary", "body", row_id), bytes(body)))
            told = (
                self._vault.open(cell(tenant_id, "summary", "text", row_id), bytes(text)).decode() if by_model else ""
            )
            by_seq = {line.seq: line for line in lines}
            found[row_id] = _Words(session_id, by_model, told, by_seq)
        return found

    async def _remember(self, ask: Ask, asked: bytes, items: Sequence[RecallItem]) -> None:
        if self._cache is None:
            return
        try:
            await self._cache.put_results(ask.key, asked, items)
        except RedisError as error:  # the next one searches again
            log.warning("recall_not_cached", reason=type(error).__name__)


async def _scores(subject: Subject, question: Question, fusion: Fusion) -> Floats:
    if len(subject.lines) > 1000:  # beyond some milliseconds of arithmetic the loop must not wait
        return await asyncio.to_thread(score, subject.lines, question, fusion=fusion)
    return score(subject.lines, question, fusion=fusion)


def _order(ask: Ask, subject: Subject, scores: Floats) -> list[int]:
    """Rows of the best lines that the prompt does not hold already, with some to spare for the token limit."""
    if not len(scores):
        return []
    sessions = np.array([part.session_id == ask.key.session_id for part in subject.fragments])
    hidden = sessions[subject.fragment_of] & (subject.seqs >= ask.in_prompt_from)
    wanted = min(2 * ask.policy.recall_limit, len(scores) - int(hidden.sum()))
    shown = np.where(hidden, np.float32(-1e9), scores)
    if ask.fusion == "score" and asks_for_several(ask.query):
        return spread(subject.lines, shown, depth=wanted)
    return [int(row) for row in np.argsort(-shown, kind="stable")[:wanted]]


def _line_item(
    subject: Subject,
    scores: Floats,
    row: int,
    found: dict[UUID, _Words],
    spoken: dict[tuple[UUID, int], Line],
) -> RecallItem | None:
    fragment = subject.fragments[subject.fragment_of[row]]
    seq = int(subject.seqs[row])
    if fragment.id is None:
        line = spoken.get((fragment.session_id, seq))
    else:
        held = found.get(fragment.id)  # absent when it was erased a moment ago
        line = held.lines.get(seq) if held else None
    if line is None:
        return None
    return RecallItem(
        kind="line",
        text=f"{line.speaker}: {line.text}" if line.speaker else line.text,
        score=round(float(scores[row]), 4),
        session_id=fragment.session_id,
        seqs=(seq,),
        at=line.at or datetime.fromtimestamp(int(subject.moments[row]), UTC),
        source_id=fragment.id,
    )


def _fitting(candidates: Sequence[RecallItem | None], policy: Policy) -> list[RecallItem]:
    left, items = policy.recall_tokens, list[RecallItem]()
    for item in candidates:
        if item is None:
            continue
        cost = estimate_tokens(item.text)
        if cost <= left and len(items) < policy.recall_limit:
            items.append(item)
            left -= cost
    return items


def _with_summaries(items: list[RecallItem], found: dict[UUID, _Words], policy: Policy) -> list[RecallItem]:
    """Model-written summaries of the fragments that the lines stand in, behind them, as far as tokens go."""
    left = policy.recall_tokens - sum(estimate_tokens(item.text) for item in items)
    told: list[RecallItem] = []
    sources = dict.fromkeys(item.source_id for item in items if item.source_id is not None)
    for source in sources:
        held = found[source]
        cost = estimate_tokens(held.text)
        if held.by_model and cost <= left and len(told) < SUMMARIES:
            best = next(item for item in items if item.source_id == source)
            seqs = tuple(sorted(held.lines))
            summary = RecallItem(
                kind="summary", text=held.text, score=best.score, session_id=held.session_id, seqs=seqs, at=best.at,
                source_id=source,
            )  # fmt: skip
            told.append(summary)
            left -= cost
    return items + told


def _in_prompt(item: RecallItem, ask: Ask) -> bool:
    return item.session_id == ask.key.session_id and any(seq >= ask.in_prompt_from for seq in item.seqs)


def _since(moment: float) -> float:
    return (time.perf_counter() - moment) * 1000


__all__ = ["LONGEST_QUERY", "MOST_FRAGMENTS", "Ask", "Recaller"]
