"""The SQL of memory, and nothing else: every statement names its tenant besides the policy that checks it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from memory.buffer import MOST_LINES
from memory.cells import cell
from memory.packing import Shelf, pack
from memory.tokens import estimate_tokens
from memory.types import Batch, Exchange, Key, Line, Policy
from tenants.crypto import Vault
from tenants.db import literals
from tenants.db.pools import Pools
from tenants.ids import uuid7

Connection = AsyncConnection[Any]
LEASE_SECONDS = 180
_LineRow = tuple[UUID, UUID, UUID, UUID, int, str, bytes, int, datetime]

_INSERT_LINES = """
INSERT INTO memory_line (id, tenant_id, session_id, subject_id, seq, role, body, tokens, said_at, done)
SELECT *, false FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::bytea[],
                            %s::int[], %s::timestamptz[])
ON CONFLICT (tenant_id, session_id, seq) DO NOTHING"""

# A replayed turn freezes the same range under another id: the range that is claimed already wins.
_INSERT_BATCHES = """
WITH wanted AS (
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[], %s::jsonb[])
        AS w (id, tenant_id, session_id, subject_id, first_seq, last_seq, policy)
), made AS (
    INSERT INTO memory_batch (id, tenant_id, session_id, subject_id, first_seq, last_seq, policy, state, attempts,
                              due_at, claimed_at, error)
    SELECT w.*, 'claimed', 0, now() + interval '60 seconds', now(), '' FROM wanted w
    WHERE NOT EXISTS (SELECT 1 FROM memory_batch b WHERE b.tenant_id = w.tenant_id AND b.session_id = w.session_id
                      AND b.last_seq >= w.first_seq)
    ON CONFLICT (id) DO NOTHING RETURNING id, tenant_id, session_id, first_seq, last_seq
)
UPDATE memory_line l SET batch_id = m.id FROM made m
WHERE l.tenant_id = m.tenant_id AND l.session_id = m.session_id AND l.seq BETWEEN m.first_seq AND m.last_seq"""

_SESSION_LINES = """
SELECT id, seq, role, body, said_at, batch_id IS NOT NULL FROM memory_line
WHERE tenant_id = %s AND session_id = %s ORDER BY seq DESC LIMIT %s"""

_CLAIM = """
UPDATE memory_batch SET lease_until = now() + make_interval(secs => %s)
WHERE tenant_id = %s AND id = %s AND state = 'claimed' AND (lease_until IS NULL OR lease_until < now())
RETURNING session_id, subject_id, first_seq, last_seq, policy, attempts,
    (SELECT t.vectors FROM tenant t WHERE t.id = memory_batch.tenant_id)"""

_INSERT_SUMMARY = """
INSERT INTO summary (id, tenant_id, session_id, subject_id, first_seq, last_seq, lines, text, by_model, body, shelf,
                     terms, vector, embedder, created)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::halfvec, %s, now()) ON CONFLICT (id) DO NOTHING"""

_SWEEP = """
UPDATE memory_batch SET due_at = now() + make_interval(secs => 60 * 2 ^ least(attempts + 1, 8)), attempts = attempts + 1
WHERE id IN (SELECT id FROM memory_batch WHERE state = 'claimed' AND due_at < now() ORDER BY due_at LIMIT %s
             FOR UPDATE SKIP LOCKED)
RETURNING tenant_id, id"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What came of a batch, ready to be stored."""

    text: str
    by_model: bool
    shelf: Shelf
    body: bytes
    """The packed lines, not yet sealed."""
    vector: Sequence[float] | None
    embedder: str


async def insert(conn: Connection, vault: Vault, exchanges: Sequence[Exchange]) -> None:
    """Lines and batch orders of committed turns, in the caller's transaction; again is as once."""
    rows = [_line_row(vault, exchange.key, line) for exchange in exchanges for line in exchange.lines]
    if rows:
        await conn.execute(_INSERT_LINES, _line_columns(rows))
    orders = [_batch_row(exchange.batch) for exchange in exchanges if exchange.batch is not None]
    if orders:
        await conn.execute(_INSERT_BATCHES, [list(column) for column in zip(*orders, strict=True)])


def _line_columns(rows: Sequence[_LineRow]) -> list[str]:
    ids, tenants, sessions, subjects, seqs, roles, bodies, tokens, said = zip(*rows, strict=True)
    return [
        *map(literals.uuids, (ids, tenants, sessions, subjects)),
        literals.integers(seqs),
        literals.texts(roles),
        literals.blobs(bodies),
        literals.integers(tokens),
        literals.moments(said),
    ]


def _line_row(vault: Vault, key: Key, line: Line) -> _LineRow:
    row_id = uuid7()
    plain = json.dumps([line.speaker, line.text], ensure_ascii=False).encode("utf-8", "replace")
    sealed = vault.seal(cell(key.tenant_id, "memory_line", "body", row_id), plain)
    said = line.at or datetime.now(UTC)
    tokens = estimate_tokens(line.text)
    return row_id, key.tenant_id, key.session_id, key.subject_id, line.seq, line.role, sealed, tokens, said


def _batch_row(batch: Batch) -> tuple[object, ...]:
    key, policy = batch.key, json.dumps(asdict(batch.policy))
    return batch.id, key.tenant_id, key.session_id, key.subject_id, batch.first_seq, batch.last_seq, policy


def open_line(vault: Vault, tenant_id: UUID, row: Sequence[Any]) -> Line:
    """A line from (id, seq, role, body, said_at)."""
    row_id, seq, role, body, said_at = row
    speaker, text = json.loads(vault.open(cell(tenant_id, "memory_line", "body", row_id), bytes(body)))
    return Line(seq, role, text, speaker, said_at)


async def session_lines(pools: Pools, vault: Vault, key: Key) -> list[tuple[Line, bool]]:
    """The session's stored lines in order, each with whether a batch has claimed it; the newest 400 at most."""
    [rows] = await pools.look(key.tenant_id, (_SESSION_LINES, [key.tenant_id, key.session_id, MOST_LINES]))
    return [(open_line(vault, key.tenant_id, row[:5]), row[5]) for row in reversed(rows)]


async def claim(conn: Connection, tenant_id: UUID, batch_id: UUID) -> tuple[Batch, int] | None:
    """Take a batch for 180 s by compare-and-set, with how often it was sent again; None when done or in other hands."""
    cursor = await conn.execute(_CLAIM, [LEASE_SECONDS, tenant_id, batch_id])
    row = await cursor.fetchone()
    if row is None:
        return None
    session_id, subject_id, first, last, stored, attempts, vectors = row
    policy = _policy(stored)
    policy = replace(policy, vectors=policy.vectors and vectors)  # as the tenant has it now, whatever was frozen
    key = Key(tenant_id=tenant_id, session_id=session_id, subject_id=subject_id)
    return Batch(id=batch_id, key=key, first_seq=first, last_seq=last, policy=policy), attempts


def _policy(stored: dict[str, Any]) -> Policy:
    """A policy as some release wrote it: what it did not know has its default, what is gone is left out."""
    known = {entry.name for entry in fields(Policy)}
    return Policy(**{name: value for name, value in stored.items() if name in known})


async def batch_lines(conn: Connection, vault: Vault, batch: Batch) -> list[Line]:
    """The lines that a batch claims, in order; fewer than frozen where some were erased since."""
    cursor = await conn.execute(
        "SELECT id, seq, role, body, said_at FROM memory_line "
        "WHERE tenant_id = %s AND session_id = %s AND batch_id = %s ORDER BY seq",
        [batch.key.tenant_id, batch.key.session_id, batch.id],
    )
    return [open_line(vault, batch.key.tenant_id, row) for row in await cursor.fetchall()]


async def finish(conn: Connection, vault: Vault, batch: Batch, digest: Digest | None, *, keep_from: int) -> bool:
    """Store what came of a batch, once; lines before `keep_from` leave, the others stay for continuity.

    True when this call finished it. A digest of None finishes a batch whose lines were all erased.
    """
    tenant_id, session_id = batch.key.tenant_id, batch.key.session_id
    cursor = await conn.execute(
        "UPDATE memory_batch SET state = 'done', finished_at = now(), lease_until = NULL, error = '' "
        "WHERE tenant_id = %s AND id = %s AND state <> 'done' RETURNING id",
        [tenant_id, batch.id],
    )
    if await cursor.fetchone() is None:
        return False
    if digest is not None:
        await conn.execute(_INSERT_SUMMARY, _summary_row(vault, batch, digest))
    await conn.execute(
        "UPDATE memory_line SET done = true WHERE tenant_id = %s AND session_id = %s AND batch_id = %s AND seq >= %s",
        [tenant_id, session_id, batch.id, keep_from],
    )
    # Earlier fragments' continuity lines go too, but never a line whose own summary is still to come.
    await conn.execute(
        "DELETE FROM memory_line WHERE tenant_id = %s AND session_id = %s AND seq < %s AND (batch_id = %s OR done)",
        [tenant_id, session_id, keep_from, batch.id],
    )
    return True


def _summary_row(vault: Vault, batch: Batch, digest: Digest) -> list[object]:
    key, shelf = batch.key, digest.shelf
    text = vault.seal(cell(key.tenant_id, "summary", "text", batch.id), digest.text.encode("utf-8", "replace"))
    body = vault.seal(cell(key.tenant_id, "summary", "body", batch.id), digest.body)
    terms = sorted({int(term) - (1 << 31) for term in shelf.terms})
    vector = None if digest.vector is None else "[" + ",".join(f"{value:.5f}" for value in digest.vector) + "]"
    return [
        batch.id, key.tenant_id, key.session_id, key.subject_id, batch.first_seq, batch.last_seq, len(shelf), text,
        digest.by_model, body, pack(shelf), terms, vector, digest.embedder,
    ]  # fmt: skip


async def give_back(conn: Connection, batch: Batch, *, error: str, final: bool) -> None:
    """Release a batch after a failure: due again later, or failed for good (its lines stay recallable)."""
    await conn.execute(
        "UPDATE memory_batch SET lease_until = NULL, error = %s, state = CASE WHEN %s THEN 'failed' ELSE state END "
        "WHERE tenant_id = %s AND id = %s AND state = 'claimed'",
        [error[:200], final, batch.key.tenant_id, batch.id],
    )


async def due(conn: Connection, *, limit: int) -> list[tuple[UUID, UUID]]:
    """(tenant, batch) of overdue batches of all tenants, each put off by 60 s x 2^attempt before it is named again."""
    cursor = await conn.execute(_SWEEP, [limit])
    return [(row[0], row[1]) for row in await cursor.fetchall()]
