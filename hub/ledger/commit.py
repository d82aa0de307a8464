"""Commit: a turn's reply, end, deliveries and freed slot in one transaction, refused when the fence is old.

One transaction per tenant and batch, in one round trip: the tenant's quota rows are locked while the server works and
never while this process thinks, nor while it stands still. What agents, memory and tenants write with it joins the
transaction through `Companion`. An old fence takes the whole batch back; it is then written again without the rows that
were refused. A commit whose answer was lost is written again too: where it had landed, the fence refuses it, and the
reply is found under its own id. Only this worker knows that its first part was never begun, so it goes on to send it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from hub.ledger.connections import Lease
from tenants.db import literals
from tenants.db.pools import broke
from tenants.quotas import PERIOD_START, USED

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """One rendered part, sealed. `expires` is when sending it has no use any more."""

    delivery_id: UUID
    connection_id: UUID
    index: int
    final: bool
    address: bytes
    part: bytes
    expires: datetime
    live: bool = False
    """The row exists already (the message is being written on the platform); it gets its last text."""
    due: datetime | None = None
    """Not sent before this: a response that is held open may take it until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One turn's end. `message_id` names the stored reply."""

    tenant_id: UUID
    session_id: UUID
    turn_id: UUID
    fence: int
    message_id: UUID
    body: bytes
    role: str = "assistant"
    status: str = "finished"
    tokens: int = 0
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    error: str = ""
    trace: str = "{}"
    tool_texts: bytes | None = None
    title: bytes | None = None
    """For a session that has none yet."""
    spent: int = 0
    """Tokens that count against the tenant's day."""
    first_token_at: datetime | None = None
    parts: Sequence[PartRow] = field(default=())
    send: bool = True
    """Lease the first part to this worker when nothing earlier is unsettled, so that it can be sent at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The reply is stored as `seq`; `sending` is the delivery leased to this worker; `more` turns of it wait.

    `crowded`: the tenant had no free slot until now, so that other sessions of its may wait.
    """

    session_id: UUID
    seq: int
    version: int
    more: bool
    sending: UUID | None
    crowded: bool


Companion = Callable[[Connection, Sequence[Commit]], Awaitable[None]]
"""Writes with a commit: before it, with no lock that any other path takes, or after it (a follower). Reads nothing."""

_LOCK = (
    "SELECT 1 FROM quota WHERE tenant_id = %(tenant)s AND metric IN ('concurrency', 'tokens_per_day')"
    " ORDER BY metric FOR UPDATE"
)

_SQL = """
WITH input AS (
    SELECT * FROM unnest(
        %(session)s::uuid[], %(turn)s::uuid[], %(fence)s::bigint[], %(message)s::uuid[], %(body)s::bytea[],
        %(role)s::text[], %(status)s::text[], %(tokens)s::int[], %(model)s::text[], %(input_tokens)s::int[],
        %(output_tokens)s::int[], %(error)s::text[], %(trace)s::text[], %(title)s::bytea[], %(spent)s::bigint[],
        %(first_token)s::timestamptz[], %(parts)s::int[], %(send)s::bool[], %(tool_texts)s::bytea[]
    ) AS t(session_id, turn_id, fence, message_id, body, role, status, tokens, model, input_tokens, output_tokens,
           error, trace, title, spent, first_token_at, parts, send, tool_texts)
), held AS (
    UPDATE session s SET version = s.version + 1, last_seq = s.last_seq + 1, lease_owner = NULL, lease_until = NULL,
        turn_id = NULL, due_at = CASE WHEN s.due_turns > 0 THEN coalesce(s.next_due_at, now()) END,
        next_due_at = NULL, delivery_seq = s.delivery_seq + i.parts, unsettled = s.unsettled + i.parts,
        title = coalesce(s.title, i.title)
    FROM input i WHERE s.id = i.session_id AND s.fence = i.fence AND s.turn_id = i.turn_id
    RETURNING s.id, s.last_seq, s.version, s.due_turns > 0 AS more, old.delivery_seq, old.unsettled
), stored AS (
    INSERT INTO message (id, tenant_id, session_id, seq, role, status, reason, turn_id, contact_id, body, tokens,
                         model, created)
    SELECT i.message_id, %(tenant)s, h.id, h.last_seq, i.role, 'final', '', i.turn_id, NULL, i.body, i.tokens, i.model,
           now()
    FROM input i JOIN held h ON h.id = i.session_id
), ended AS (
    UPDATE turn t SET status = i.status, model = i.model, input_tokens = i.input_tokens,
        output_tokens = i.output_tokens, error = i.error, trace = i.trace::jsonb, partial = NULL,
        tool_texts = i.tool_texts,
        journal = NULL, first_token_at = i.first_token_at, finished_at = clock_timestamp()
    FROM input i JOIN held h ON h.id = i.session_id WHERE t.id = i.turn_id
    RETURNING t.reserved, i.spent
), freed AS (
    UPDATE quota q SET
        used = CASE q.metric WHEN 'concurrency' THEN greatest(q.used - x.turns, 0) ELSE {used} + x.spent END,
        reserved = CASE q.metric WHEN 'tokens_per_day' THEN greatest(q.reserved - x.tokens, 0) ELSE q.reserved END,
        period_start = {period_start}
    FROM (SELECT count(*) AS turns, coalesce(sum(reserved), 0) AS tokens, coalesce(sum(spent), 0)::bigint AS spent
          FROM ended) x, tenant t
    WHERE q.tenant_id = %(tenant)s AND t.id = q.tenant_id
      AND (q.metric = 'concurrency' AND x.turns > 0 OR q.metric = 'tokens_per_day' AND (x.tokens > 0 OR x.spent > 0))
    RETURNING q.metric = 'concurrency' AND coalesce(q.override, q.limit_value) BETWEEN 0 AND old.used AS was_full
), written AS (
    UPDATE delivery d SET part = p.part, final = p.final, status = 'sending', attempts = d.attempts + 1,
        message_id = p.message_id, lease_owner = %(worker)s, lease_until = now() + %(lease)s,
        due_at = now() + %(lease)s
    FROM unnest(%(p_live)s::bool[], %(p_id)s::uuid[], %(p_session)s::uuid[], %(p_message)s::uuid[],
                %(p_final)s::bool[], %(p_part)s::bytea[]) AS p(live, id, session_id, message_id, final, part)
    JOIN held h ON h.id = p.session_id
    WHERE p.live AND d.id = p.id
    RETURNING d.id, d.session_id
), parts AS (
    INSERT INTO delivery (id, tenant_id, session_id, connection_id, turn_id, message_id, position, part_index, final,
        status, attempts, due_at, expires_at, lease_owner, lease_until, address, part, platform_id, platform_extra,
        live, receipt, detail, created)
    SELECT p.id, %(tenant)s, h.id, p.connection_id, i.turn_id, i.message_id, h.delivery_seq + p.nth, p.part_index,
           p.final, CASE WHEN now_ THEN 'sending' ELSE 'pending' END, now_::int,
           CASE WHEN now_ THEN now() + %(lease)s ELSE coalesce(p.due, now()) END, p.expires_at,
           CASE WHEN now_ THEN %(worker)s::uuid END, CASE WHEN now_ THEN now() + %(lease)s END,
           p.address, p.part, '', '{{}}', false, '', '', now()
    FROM (
        SELECT *, row_number() OVER (PARTITION BY session_id ORDER BY part_index) AS nth FROM unnest(
            %(p_live)s::bool[], %(p_id)s::uuid[], %(p_session)s::uuid[], %(p_connection)s::uuid[],
            %(p_index)s::int[], %(p_final)s::bool[], %(p_address)s::bytea[], %(p_part)s::bytea[],
            %(p_expires)s::timestamptz[], %(p_due)s::timestamptz[]
        ) AS u(live, id, session_id, connection_id, part_index, final, address, part, expires_at, due) WHERE NOT live
    ) p
    JOIN held h ON h.id = p.session_id JOIN input i ON i.session_id = p.session_id
    CROSS JOIN LATERAL (SELECT i.send AND h.unsettled = 0 AND p.nth = 1 AS now_) AS x
    RETURNING id, session_id, status
)
SELECT h.id, h.last_seq, h.version, h.more,
       coalesce((SELECT w.id FROM written w WHERE w.session_id = h.id),
                (SELECT p.id FROM parts p WHERE p.session_id = h.id AND p.status = 'sending')),
       coalesce((SELECT bool_or(was_full) FROM freed), false),
       CASE WHEN h.id IS NULL THEN 1 / (i.parts - i.parts) END
FROM input i LEFT JOIN held h ON h.id = i.session_id
"""
# The division by zero says that a fence is old: nothing of the transaction stays, and the server goes on to no COMMIT.
_COMMIT = _SQL.format(used=USED, period_start=PERIOD_START)

_FENCED = """
SELECT i.session_id
FROM unnest(%(session)s::uuid[], %(turn)s::uuid[], %(fence)s::bigint[]) AS i(session_id, turn_id, fence)
JOIN session s ON s.id = i.session_id AND s.fence = i.fence AND s.turn_id = i.turn_id
"""

# A part that anybody has begun since then has more attempts, another owner or a lease that ended.
_LANDED = """
WITH input AS (
    SELECT * FROM unnest(%(session)s::uuid[], %(turn)s::uuid[], %(message)s::uuid[])
        AS t(session_id, turn_id, message_id)
), ours AS (
    UPDATE delivery d SET lease_until = now() + %(lease)s, due_at = now() + %(lease)s
    FROM input i WHERE d.session_id = i.session_id AND d.message_id = i.message_id AND d.status = 'sending'
      AND d.lease_owner = %(worker)s AND d.lease_until > now() AND d.attempts = 1 + d.live::int
    RETURNING d.id, d.message_id
)
SELECT i.turn_id, m.seq, s.version, s.due_turns > 0, (SELECT o.id FROM ours o WHERE o.message_id = m.id), true
FROM input i JOIN message m ON m.session_id = i.session_id AND m.id = i.message_id AND m.turn_id = i.turn_id
JOIN session s ON s.id = i.session_id
"""
_AWAY_SECONDS = 8.0
"""How long a commit is tried again whose connection broke: longer than a database takes to come back from a crash."""


class Committer:
    """Writes batches of ended turns as hub_app, tenant by tenant."""

    def __init__(
        self,
        open_tenant: "Callable[[UUID], AbstractAsyncContextManager[Connection]]",
        *,
        lease: Lease,
        worker_id: UUID,
        companions: Sequence[Companion] = (),
        followers: Sequence[Companion] = (),
    ) -> None:
        self._open_tenant = open_tenant
        self._lease = lease
        self._worker_id = worker_id
        self._companions, self._followers = tuple(companions), tuple(followers)

    async def write(self, rows: Sequence[Commit]) -> list[Committed | BaseException | None]:
        """One result per row: Committed, or None where the fence was old and nothing of the row was written."""
        by_tenant: dict[UUID, list[Commit]] = {}
        for row in rows:
            by_tenant.setdefault(row.tenant_id, []).append(row)
        results: dict[UUID, Committed | BaseException] = {}
        for tenant_id, group in by_tenant.items():
            try:
                results.update(await self._write_tenant(tenant_id, group))
            except psycopg.OperationalError as error:
                results.update(await self._after_break(tenant_id, group, error))
            except Exception as error:  # noqa: BLE001 (one tenant's fault must not take the others' turns with it)
                results.update(await self._alone(tenant_id, group, error))
        return [results.get(row.turn_id) for row in rows]

    async def _after_break(
        self, tenant_id: UUID, group: Sequence[Commit], error: Exception
    ) -> dict[UUID, Committed | BaseException]:
        """After a connection that ended in the commit: nobody knows whether it landed, so it is written once more."""
        deadline, pause = time.monotonic() + _AWAY_SECONDS, 0.1
        while broke(error) and time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)
            try:
                return await self._write_tenant(tenant_id, group)
            except Exception as again:  # noqa: BLE001 (judged by the loop, then handed to the turns)
                error = again
        return await self._alone(tenant_id, group, error)

    async def _alone(
        self, tenant_id: UUID, group: Sequence[Commit], error: Exception
    ) -> dict[UUID, Committed | BaseException]:
        """After a failed batch: each turn by itself, so that only the one at fault fails."""
        if len(group) == 1:
            return {group[0].turn_id: error}
        results: dict[UUID, Committed | BaseException] = {}
        for row in group:
            try:
                results.update(await self._write_tenant(tenant_id, [row]))
            except Exception as own:  # noqa: BLE001 (handed to the turn that caused it)
                results[row.turn_id] = own
        return results

    async def _write_tenant(self, tenant_id: UUID, group: Sequence[Commit]) -> dict[UUID, Committed | BaseException]:
        """Write the group; what is fenced, now or between two attempts, is left out, unless it had landed before."""
        left, landed = list(group), dict[UUID, Committed | BaseException]()
        while left:
            try:
                return landed | await self._transact(tenant_id, left)
            except psycopg.errors.DivisionByZero:
                held = await self._unfenced(tenant_id, left)
                landed |= await self._landed(tenant_id, [row for row in left if row not in held])
                left = held
        return landed

    async def _transact(self, tenant_id: UUID, group: Sequence[Commit]) -> dict[UUID, Committed | BaseException]:
        parameters = self._parameters(tenant_id, group)
        async with self._open_tenant(tenant_id) as conn:
            async with conn.pipeline():
                for companion in self._companions:
                    await companion(conn, group)
                await conn.execute(_LOCK, {"tenant": tenant_id})
                cursor = await conn.execute(_COMMIT, parameters)
                for follower in self._followers:
                    await follower(conn, group)
                await conn.execute("COMMIT")
            records = {record[0]: record[1:6] for record in await cursor.fetchall()}
        return {row.turn_id: _committed(row, records[row.session_id]) for row in group}

    async def _unfenced(self, tenant_id: UUID, group: Sequence[Commit]) -> list[Commit]:
        """The rows whose fence still holds."""
        values = {
            "session": literals.uuids(row.session_id for row in group),
            "turn": literals.uuids(row.turn_id for row in group),
            "fence": literals.integers(row.fence for row in group),
        }
        async with self._open_tenant(tenant_id) as conn:
            held = {record[0] for record in await (await conn.execute(_FENCED, values)).fetchall()}
        return [row for row in group if row.session_id in held]

    async def _landed(self, tenant_id: UUID, fenced: Sequence[Commit]) -> dict[UUID, Committed | BaseException]:
        """Those that an earlier attempt of this worker stored without hearing of it."""
        if not fenced:
            return {}
        values = {
            "worker": self._worker_id,
            "lease": self._lease.sending,
            "session": literals.uuids(row.session_id for row in fenced),
            "turn": literals.uuids(row.turn_id for row in fenced),
            "message": literals.uuids(row.message_id for row in fenced),
        }
        async with self._open_tenant(tenant_id) as conn:
            records = await (await conn.execute(_LANDED, values)).fetchall()
        found = {record[0]: record[1:] for record in records}
        return {row.turn_id: _committed(row, found[row.turn_id]) for row in fenced if row.turn_id in found}

    def _parameters(self, tenant_id: UUID, rows: Sequence[Commit]) -> dict[str, object]:
        parts = [(row, part) for row in rows for part in row.parts]
        return {
            "tenant": tenant_id,
            "worker": self._worker_id,
            "lease": self._lease.sending,
            "session": literals.uuids(row.session_id for row in rows),
            "turn": literals.uuids(row.turn_id for row in rows),
            "fence": literals.integers(row.fence for row in rows),
            "message": literals.uuids(row.message_id for row in rows),
            "body": literals.blobs(row.body for row in rows),
            "role": literals.texts(row.role for row in rows),
            "status": literals.texts(row.status for row in rows),
            "tokens": literals.integers(row.tokens for row in rows),
            "model": literals.texts(row.model for row in rows),
            "input_tokens": literals.integers(row.input_tokens for row in rows),
            "output_tokens": literals.integers(row.output_tokens for row in rows),
            "error": literals.texts(row.error[:500] for row in rows),
            "trace": literals.texts(row.trace for row in rows),
            "title": literals.blobs(row.title for row in rows),
            "spent": literals.integers(row.spent for row in rows),
            "first_token": literals.moments(row.first_token_at for row in rows),
            "parts": literals.integers(sum(not part.live for part in row.parts) for row in rows),
            "send": literals.booleans(row.send for row in rows),
            "tool_texts": literals.blobs(row.tool_texts for row in rows),
            "p_live": literals.booleans(part.live for _, part in parts),
            "p_id": literals.uuids(part.delivery_id for _, part in parts),
            "p_session": literals.uuids(row.session_id for row, _ in parts),
            "p_message": literals.uuids(row.message_id for row, _ in parts),
            "p_connection": literals.uuids(part.connection_id for _, part in parts),
            "p_index": literals.integers(part.index for _, part in parts),
            "p_final": literals.booleans(part.final for _, part in parts),
            "p_address": literals.blobs(part.address for _, part in parts),
            "p_part": literals.blobs(part.part for _, part in parts),
            "p_expires": literals.moments(part.expires for _, part in parts),
            "p_due": literals.moments(part.due for _, part in parts),
        }


def _committed(row: Commit, record: Sequence[Any]) -> Committed:
    seq, version, more, sending, crowded = record
    return Committed(session_id=row.session_id, seq=seq, version=version, more=more, sending=sending, crowded=crowded)
