"""A subject's remembered lines, brought into the process: fragments are immutable, so they are read once and kept."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from psycopg import AsyncConnection

from memory import tokens
from memory.packing import QUESTION, Shelf, unpack
from memory.scoring import Lines
from memory.shelving import shelve
from memory.store import open_line
from memory.types import Key
from tenants.crypto import Vault
from tenants.db import literals
from tenants.db.batching import Batcher
from tenants.db.pools import Pools

Connection = AsyncConnection[Any]
Row = Sequence[Any]
"""Of memory_line: id, seq, role, body, said_at, session_id."""
_Name = tuple[UUID, UUID | tuple[UUID, *tuple[int, ...]]]
"""Of what is kept: the tenant, and the summary's id or else the session and the seqs of its open lines."""

MOST_FRAGMENTS = 600
"""A subject with more is narrowed to this many by words, meaning and recency before its lines are scored."""
MOST_OPEN = 400
EPISODE_GAP = 4 * 3600
EPISODE_LINES = 48
CACHE_BYTES = 64 << 20

_FRAGMENTS = """
SELECT a.subject_id, s.id FROM unnest(%s::uuid[]) AS a(subject_id) CROSS JOIN LATERAL (
    SELECT id FROM summary WHERE tenant_id = %s AND subject_id = a.subject_id AND superseded_by IS NULL
    ORDER BY id DESC LIMIT %s) AS s"""
_OPEN = """
SELECT a.subject_id, l.* FROM unnest(%s::uuid[]) AS a(subject_id) CROSS JOIN LATERAL (
    SELECT id, seq, role, body, said_at, session_id FROM memory_line
    WHERE tenant_id = %s AND subject_id = a.subject_id AND NOT done ORDER BY said_at DESC LIMIT %s) AS l"""
_SHELVES = "SELECT id, session_id, shelf, embedder FROM summary WHERE tenant_id = %s AND id = ANY(%s)"
# Plus zero keeps any vector index out: under a tenant's policy such an index filters afterwards and returns too little.
_NARROW = """
WITH mine AS MATERIALIZED (SELECT id, terms, vector, embedder FROM summary
                           WHERE tenant_id = %(tenant)s AND subject_id = %(subject)s AND superseded_by IS NULL)
(SELECT id FROM mine ORDER BY id DESC LIMIT %(part)s) UNION
(SELECT id FROM mine ORDER BY cardinality(ARRAY(SELECT unnest(terms) INTERSECT SELECT unnest(%(terms)s::int[]))) DESC,
                              id DESC LIMIT %(part)s) UNION
(SELECT id FROM mine WHERE embedder = %(embedder)s AND vector IS NOT NULL
 ORDER BY (vector <=> %(vector)s::halfvec) + 0 LIMIT %(part)s)"""


@dataclass(frozen=True, slots=True)
class Fragment:
    """Lines of one session in order; `id` is the summary that holds their words, None before there is one."""

    id: UUID | None
    session_id: UUID
    shelf: Shelf
    embedder: str


@dataclass(slots=True)
class Subject:
    """All lines that a question is put to, with where each comes from."""

    lines: Lines
    fragments: Sequence[Fragment]
    fragment_of: npt.NDArray[np.int32]
    row_of: npt.NDArray[np.int32]
    seqs: npt.NDArray[np.int64]
    moments: npt.NDArray[np.int64]
    spoken: Mapping[tuple[UUID, int], Row]
    """Lines that are not yet summarised as they are stored, by session and seq: few of them are ever read."""

    def speakers(self) -> npt.NDArray[np.uint32]:
        """Prints of the names of everybody who talks here."""
        return np.unique(self.lines.speaker[self.lines.speaker > 0])


@dataclass(frozen=True, slots=True)
class Glance:
    """A subject's fragments by id, and its lines that are in none yet, as stored."""

    ids: Sequence[UUID]
    rows: Sequence[Row]

    def all_shown(self, session_id: UUID, shown_from: int) -> bool:
        """Whether every line is one of this session's from `shown_from` on: the prompt holds those already."""
        return not self.ids and all(row[5] == session_id and row[1] >= shown_from for row in self.rows)

    def lowest(self) -> int | None:
        """The first seq of the open lines; None without any."""
        return min((row[1] for row in self.rows), default=None)


class Subjects:
    """Loads subjects; keeps at most 64 MiB of fragments, least recently used out first."""

    def __init__(self, *, pools: Pools, vault: Vault, embedder_identity: str) -> None:
        self._pools = pools
        self._vault = vault
        self._identity = embedder_identity
        self._cache: OrderedDict[_Name, Fragment] = OrderedDict()
        self._bytes = 0
        self._looks: Batcher[Key, Glance] = Batcher(self._look, lanes=2, max_items=64)

    async def look(self, key: Key) -> Glance:
        """What there is of a subject, before anything of it is brought here; turns that ask meanwhile share a trip."""
        return await self._looks.submit(key, lane=key.subject_id.int)

    async def _look(self, keys: Sequence[Key]) -> list[Glance | BaseException]:
        found: dict[tuple[UUID, UUID], Glance | BaseException] = {}
        by_tenant: dict[UUID, set[UUID]] = {}
        for key in keys:
            by_tenant.setdefault(key.tenant_id, set()).add(key.subject_id)
        for tenant_id, subjects in by_tenant.items():
            try:
                glances = await self._glances(tenant_id, subjects)
            except Exception as error:  # noqa: BLE001 (one tenant's fault is that of its own turns)
                found.update({(tenant_id, subject): error for subject in subjects})
            else:
                found.update({(tenant_id, subject): glance for subject, glance in glances.items()})
        return [found[key.tenant_id, key.subject_id] for key in keys]

    async def _glances(self, tenant_id: UUID, subjects: Iterable[UUID]) -> dict[UUID, Glance]:
        asked = literals.uuids(subjects)
        fragments, lines = await self._pools.look(
            tenant_id,
            (_FRAGMENTS, [asked, tenant_id, MOST_FRAGMENTS + 1]),
            (_OPEN, [asked, tenant_id, MOST_OPEN]),
        )
        ids: dict[UUID, list[UUID]] = {}
        rows: dict[UUID, list[Row]] = {}
        for subject_id, row_id in fragments:
            ids.setdefault(subject_id, []).append(row_id)
        for subject_id, *row in lines:
            rows.setdefault(subject_id, []).append(row)
        return {subject: Glance(ids.get(subject, ()), rows.get(subject, ())) for subject in subjects}

    async def load(self, key: Key, glance: Glance, *, terms: Sequence[int]) -> Subject:
        """The subject's lines; of a very large one those of its likeliest 600 fragments."""
        ids = glance.ids
        if len(ids) > MOST_FRAGMENTS or any((key.tenant_id, item) not in self._cache for item in ids):
            async with self._pools.app(key.tenant_id) as conn:
                if len(ids) > MOST_FRAGMENTS:
                    ids = await self._narrow(conn, key, terms=terms, vector=None)
                fragments = await self._fragments(conn, key.tenant_id, ids)
        else:
            fragments = self._held(key.tenant_id, ids, {})
        waiting, fresh = self._waiting(key.tenant_id, glance.rows)
        new = sum(map(len, fresh.values()))
        size = len(glance.rows) + sum(len(fragment.shelf) for fragment in fragments)
        # Where there are Chinese words among new lines, the dictionary may have to be loaded first.
        if new > 100 or size > 1000 or (new and not tokens.is_warm()):
            shelved, subject = await asyncio.to_thread(
                self._assemble, key.tenant_id, [*fragments, *waiting], fresh, glance
            )
        else:
            shelved, subject = self._assemble(key.tenant_id, [*fragments, *waiting], fresh, glance)
        for name, fragment in shelved.items():
            self._keep(name, fragment)
        return subject

    async def _narrow(
        self, conn: Connection, key: Key, *, terms: Sequence[int], vector: Sequence[float] | None
    ) -> list[UUID]:
        asked = {
            "tenant": key.tenant_id,
            "subject": key.subject_id,
            "part": MOST_FRAGMENTS // 3,
            "terms": [term - (1 << 31) for term in terms],
            "embedder": self._identity if vector is not None else "-",
            "vector": None if vector is None else "[" + ",".join(f"{value:.5f}" for value in vector) + "]",
        }
        return [row[0] for row in await (await conn.execute(_NARROW, asked)).fetchall()]

    async def _fragments(self, conn: Connection, tenant_id: UUID, ids: Sequence[UUID]) -> list[Fragment]:
        missing = [item for item in ids if (tenant_id, item) not in self._cache]
        fresh: dict[UUID, Fragment] = {}
        if missing:
            cursor = await conn.execute(_SHELVES, [tenant_id, missing])
            for row_id, session_id, shelf, embedder in await cursor.fetchall():
                fresh[row_id] = Fragment(row_id, session_id, unpack(bytes(shelf)), embedder)
        return self._held(tenant_id, ids, fresh)

    def _held(self, tenant_id: UUID, ids: Sequence[UUID], fresh: dict[UUID, Fragment]) -> list[Fragment]:
        held = [fresh.get(item) or self._cache.get((tenant_id, item)) for item in ids]
        for item, fragment in zip(ids, held, strict=True):
            if fragment is not None:
                self._keep((tenant_id, item), fragment)
        return [fragment for fragment in held if fragment is not None]

    def _keep(self, name: _Name, fragment: Fragment) -> None:
        if name in self._cache:
            self._cache.move_to_end(name)
            return
        self._cache[name] = fragment
        self._bytes += _size(fragment)
        while self._bytes > CACHE_BYTES:
            self._bytes -= _size(self._cache.popitem(last=False)[1])

    def _waiting(self, tenant_id: UUID, rows: Sequence[Row]) -> tuple[list[Fragment], dict[_Name, list[Row]]]:
        """Open lines by session: what is shelved already, and the rows of what is not.

        A line never changes, so a session's shelf holds as long as no line is added to it: of a subject with many
        sessions a turn shelves anew only those that went on.
        """
        by_session: dict[UUID, list[Row]] = {}
        for row in sorted(rows, key=lambda row: (row[5], row[1])):
            by_session.setdefault(row[5], []).append(row)
        held: list[Fragment] = []
        fresh: dict[_Name, list[Row]] = {}
        for session_id, lines in by_session.items():
            name: _Name = (tenant_id, (session_id, *(row[1] for row in lines)))
            if (fragment := self._cache.get(name)) is not None:
                self._cache.move_to_end(name)
                held.append(fragment)
            else:
                fresh[name] = lines
        return held, fresh

    def _assemble(
        self, tenant_id: UUID, held: Sequence[Fragment], fresh: Mapping[_Name, Sequence[Row]], glance: Glance
    ) -> tuple[dict[_Name, Fragment], Subject]:
        """May run in a thread, so it touches nothing of ours but the vault."""
        shelved = {}
        for name, rows in fresh.items():
            lines = [open_line(self._vault, tenant_id, row[:5]) for row in rows]
            shelved[name] = Fragment(None, rows[0][5], shelve(self._vault, tenant_id, lines, None), "")
        order = [*held, *shelved.values()]
        parts = sorted(order, key=lambda part: (part.session_id, int(part.shelf.seqs[0])))
        spoken = {(row[5], row[1]): row for row in glance.rows}
        return shelved, _join(parts, spoken, identity=self._identity)


def _size(fragment: Fragment) -> int:
    return fragment.shelf.vectors.nbytes + fragment.shelf.terms.nbytes + 64 * len(fragment.shelf) + 500


def _join(parts: Sequence[Fragment], spoken: Mapping[tuple[UUID, int], Row], *, identity: str) -> Subject:
    shelves = [part.shelf for part in parts]
    sizes = [len(shelf) for shelf in shelves]
    fragment_of = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)
    moments = _cat([shelf.moments for shelf in shelves], np.int64)
    sessions = {session: number for number, session in enumerate({part.session_id: None for part in parts})}
    session_of = np.repeat(np.array([sessions[part.session_id] for part in parts], np.int32), sizes)
    counts = _cat([shelf.counts for shelf in shelves], np.int64)
    vectors, scales = _vectors(parts, identity)
    lines = Lines(
        episode=episodes(session_of, moments),
        speaker=_cat([shelf.speakers for shelf in shelves], np.uint32),
        question=(_cat([shelf.flags for shelf in shelves], np.uint8) & QUESTION) > 0,
        length=_cat([shelf.lengths for shelf in shelves], np.float32),
        term_rows=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        terms=_cat([shelf.terms for shelf in shelves], np.uint32),
        vectors=vectors,
        scales=scales,
    )
    rows = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]) if sizes else np.zeros(0, np.int32)
    seqs = _cat([shelf.seqs for shelf in shelves], np.int64)
    return Subject(lines, parts, fragment_of, rows, seqs, moments, spoken)


def _cat(arrays: Sequence[npt.NDArray[Any]], kind: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate(arrays).astype(kind, copy=False) if arrays else np.zeros(0, kind)


def _vectors(parts: Sequence[Fragment], identity: str) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """All vectors under one another; zeros for lines that have none, or only those of another model."""
    usable = [part.shelf.has_vectors and part.embedder == identity for part in parts]
    width = 384
    blocks = [
        part.shelf.vectors if good else np.zeros((len(part.shelf), width), np.int8)
        for part, good in zip(parts, usable, strict=True)
    ]
    scales = [
        part.shelf.scales if good else np.zeros(len(part.shelf), np.float32)
        for part, good in zip(parts, usable, strict=True)
    ]
    return (np.concatenate(blocks) if blocks else np.zeros((0, width), np.int8)), _cat(scales, np.float32)


def episodes(session_of: npt.NDArray[np.int32], moments: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Number the talks: a new one with each session, after four hours of silence, and after 48 lines in one go."""
    if not len(session_of):
        return np.zeros(0, np.int32)
    starts = np.ones(len(session_of), bool)
    starts[1:] = (session_of[1:] != session_of[:-1]) | (np.abs(np.diff(moments)) > EPISODE_GAP)
    talk = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    piece = (np.arange(len(talk)) - first[talk]) // EPISODE_LINES
    fresh = np.ones(len(talk), bool)
    fresh[1:] = (np.diff(talk) > 0) | (np.diff(piece) > 0)
    return (np.cumsum(fresh) - 1).astype(np.int32)
