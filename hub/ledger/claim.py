"""Claim: lease due sessions in bulk, raise their fences, and give each its next turn with its messages.

Two statements in one transaction: the first locks (quota, then sessions), the second, with a snapshot younger than
the locks, finds turns and messages. A running turn whose lease ended is taken over and keeps its slot and its messages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg import AsyncConnection

from hub.ledger.accept import RESERVED_TOKENS
from hub.ledger.connections import Lease, RoleConnection
from tenants.db import literals


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A leased session with the turn to run. `messages` are (seq, message id), oldest first."""

    session_id: UUID
    tenant_id: UUID
    connection_id: UUID
    agent_id: UUID | None
    subject_id: UUID
    fence: int
    version: int
    unsettled: int
    turn_id: UUID
    kind: str
    reason: str
    attempts: int
    messages: Sequence[tuple[int, UUID]] = field(default=())
    newcomer: bool = False
    """Whether nobody had met the subject before this turn's first message."""


_LEASE = """
WITH RECURSIVE tenants(tenant_id) AS (
    (SELECT tenant_id FROM session WHERE due_at <= now() - %(age)s ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT s.tenant_id FROM session s WHERE s.due_at <= now() - %(age)s AND s.tenant_id > t.tenant_id
            ORDER BY s.tenant_id LIMIT 1)
    FROM tenants t WHERE t.tenant_id IS NOT NULL
), wanted AS MATERIALIZED (
    SELECT tenant_id FROM tenants WHERE %(ids)s::uuid[] IS NULL AND tenant_id IS NOT NULL
    UNION SELECT tenant_id FROM session WHERE id = ANY (%(ids)s::uuid[])
), caps AS MATERIALIZED (
    SELECT q.tenant_id, q.metric, coalesce(q.override, q.limit_value) AS limit_value, q.used
    FROM quota q JOIN wanted w USING (tenant_id)
    WHERE q.metric IN ('concurrency', 'tokens_per_day') ORDER BY q.tenant_id, q.metric FOR UPDATE OF q
), free AS (
    SELECT tenant_id, CASE WHEN limit_value < 0 THEN %(limit)s ELSE greatest(limit_value - used, 0) END AS slots
    FROM caps WHERE metric = 'concurrency'
), taken AS MATERIALIZED (
    SELECT f.tenant_id, s.id, s.due_at FROM free f, LATERAL (
        SELECT x.id, x.due_at FROM session x
        WHERE x.tenant_id = f.tenant_id AND x.due_at <= now() - %(age)s AND x.turn_id IS NOT NULL
          AND (%(ids)s::uuid[] IS NULL OR x.id = ANY (%(ids)s::uuid[]))
        ORDER BY x.due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) s
), fresh AS MATERIALIZED (
    SELECT f.tenant_id, s.id, s.due_at FROM free f, LATERAL (
        SELECT x.id, x.due_at FROM session x
        WHERE x.tenant_id = f.tenant_id AND x.due_at <= now() - %(age)s AND x.turn_id IS NULL AND x.due_turns > 0
          AND (%(ids)s::uuid[] IS NULL OR x.id = ANY (%(ids)s::uuid[]))
        ORDER BY x.due_at LIMIT least(f.slots, %(limit)s) FOR UPDATE SKIP LOCKED
    ) s
), picked AS (
    SELECT *, row_number() OVER (PARTITION BY tenant_id ORDER BY taken DESC, due_at) AS nth FROM (
        SELECT *, true AS taken FROM taken UNION ALL SELECT *, false FROM fresh
    ) p
), chosen AS (
    SELECT * FROM picked ORDER BY nth, tenant_id LIMIT %(limit)s
), spent AS (
    UPDATE quota q SET used = q.used + x.used, reserved = q.reserved + x.reserved
    FROM (
        SELECT tenant_id, 'concurrency' AS metric, count(*) AS used, 0 AS reserved
        FROM chosen WHERE NOT taken GROUP BY tenant_id
        UNION ALL
        SELECT c.tenant_id, 'tokens_per_day', 0, count(*) * %(reserve)s
        FROM chosen c JOIN caps k ON k.tenant_id = c.tenant_id AND k.metric = 'tokens_per_day' AND k.limit_value >= 0
        WHERE NOT c.taken GROUP BY c.tenant_id
    ) x WHERE q.tenant_id = x.tenant_id AND q.metric = x.metric
)
UPDATE session s SET fence = s.fence + 1, lease_owner = %(worker)s, lease_until = now() + %(lease)s,
    due_at = now() + %(lease)s, next_due_at = NULL
FROM chosen c WHERE s.id = c.id
RETURNING s.id, s.tenant_id, s.turn_id, s.fence, s.last_seq,
    coalesce((SELECT %(reserve)s FROM caps k WHERE k.tenant_id = s.tenant_id AND k.metric = 'tokens_per_day'
              AND k.limit_value >= 0), 0)
"""

_ASSIGN = """
WITH leased AS (
    SELECT * FROM unnest(%(session)s::uuid[], %(turn)s::uuid[], %(fence)s::bigint[], %(last_seq)s::bigint[],
                         %(reserved)s::bigint[]) AS t(session_id, turn_id, fence, last_seq, reserved)
), chosen AS MATERIALIZED (
    SELECT l.*, t.id AS id, t.status AS was, t.merge
    FROM leased l, LATERAL (
        SELECT x.id, x.status, x.merge FROM turn x
        WHERE x.session_id = l.session_id
          AND CASE WHEN l.turn_id IS NULL THEN x.status = 'due' ELSE x.id = l.turn_id END
        ORDER BY x.first_seq LIMIT 1
    ) t
), begun AS (
    UPDATE turn t SET status = 'running', fence = c.fence, attempts = t.attempts + 1,
        started_at = coalesce(t.started_at, now()),
        reserved = CASE WHEN c.was = 'due' THEN c.reserved ELSE t.reserved END,
        last_seq = CASE WHEN c.was = 'due' AND c.merge THEN c.last_seq ELSE t.last_seq END
    FROM chosen c WHERE t.id = c.id
    RETURNING t.id, t.session_id, t.kind, t.reason, t.attempts, t.first_seq, t.last_seq, t.merge, c.was
), owned AS (
    UPDATE message m SET turn_id = b.id
    FROM begun b
    WHERE b.was = 'due' AND b.kind = 'reply' AND m.session_id = b.session_id
      AND m.seq BETWEEN b.first_seq AND b.last_seq AND m.turn_id IS NULL AND m.status = 'accepted'
    RETURNING m.session_id, m.seq, m.id
), kept AS (
    SELECT m.session_id, m.seq, m.id FROM begun b JOIN message m
        ON m.session_id = b.session_id AND m.seq BETWEEN b.first_seq AND b.last_seq AND m.turn_id = b.id
    WHERE b.was <> 'due'
), held AS (
    UPDATE session s SET turn_id = b.id,
        due_turns = s.due_turns - (b.was = 'due')::int,
        merge_due = s.merge_due AND NOT (b.was = 'due' AND b.merge),
        due_since = CASE WHEN s.due_turns > 1 THEN s.due_since END
    FROM begun b WHERE s.id = b.session_id
    RETURNING s.id, s.tenant_id, s.connection_id, s.agent_id, s.subject_id, s.fence, s.version, s.unsettled
)
SELECT h.id, h.tenant_id, h.connection_id, h.agent_id, h.subject_id, h.fence, h.version, h.unsettled,
       b.id, b.kind, b.reason, b.attempts,
       (SELECT array_agg(m.seq ORDER BY m.seq) FROM (TABLE owned UNION ALL TABLE kept) m WHERE m.session_id = h.id),
       (SELECT array_agg(m.id ORDER BY m.seq) FROM (TABLE owned UNION ALL TABLE kept) m WHERE m.session_id = h.id)
FROM held h JOIN begun b ON b.session_id = h.id
"""

# A leased session without a turn (its counters drifted, its turn was removed) is put right and left alone.
_MEND = """
WITH mended AS (
    UPDATE session SET lease_owner = NULL, lease_until = NULL, due_at = NULL, due_turns = 0, merge_due = false,
        turn_id = NULL
    WHERE id = ANY (%(ids)s::uuid[]) RETURNING tenant_id
)
UPDATE quota q SET used = greatest(q.used - x.n, 0)
FROM (SELECT tenant_id, count(*) AS n FROM mended GROUP BY tenant_id) x
WHERE q.tenant_id = x.tenant_id AND q.metric = 'concurrency'
"""


_WAITING = """
SELECT s.id FROM quota q, LATERAL (
    SELECT x.id FROM session x
    WHERE x.tenant_id = q.tenant_id AND x.due_at <= now() AND x.turn_id IS NULL AND x.due_turns > 0
    ORDER BY x.due_at LIMIT greatest(coalesce(q.override, q.limit_value) - q.used, 0)
) s
WHERE q.metric = 'concurrency' AND q.tenant_id = ANY (%(tenants)s::uuid[]) AND coalesce(q.override, q.limit_value) >= 0
"""


class Claimer:
    """Leases turns as hub_queue for one worker."""

    def __init__(self, connection: RoleConnection, lease: Lease, worker_id: UUID) -> None:
        self._connection = connection
        self._lease = lease
        self._worker_id = worker_id

    async def claim(
        self, *, limit: int, sessions: Sequence[UUID] | None = None, older_than: float = 0.0
    ) -> list[Claimed]:
        """Up to `limit` turns: of these `sessions`, or of anything due for `older_than` seconds, tenants in turn."""
        leased: dict[str, object] = {
            "ids": None if sessions is None else literals.uuids(sessions),
            "age": Lease.seconds(older_than),
            "limit": limit,
            "worker": self._worker_id,
            "lease": self._lease.duration,
            "reserve": RESERVED_TOKENS,
        }
        async with self._connection.transaction() as conn:
            return await self._claim(conn, leased)

    async def waiting(self, tenants: Iterable[UUID]) -> list[UUID]:
        """Sessions that wait for a slot of their tenant, the longest first: as many as there are free slots."""
        rows = await self._connection.fetch(_WAITING, {"tenants": literals.uuids(tenants)})
        return [row[0] for row in rows]

    async def _claim(self, conn: AsyncConnection[tuple[object, ...]], parameters: dict[str, object]) -> list[Claimed]:
        rows = await (await conn.execute(_LEASE, parameters)).fetchall()
        if not rows:
            return []
        assigned = await conn.execute(
            _ASSIGN,
            {
                "session": literals.uuids(row[0] for row in rows),  # type: ignore[misc]
                "turn": literals.uuids(row[2] for row in rows),  # type: ignore[misc]
                "fence": literals.integers(row[3] for row in rows),  # type: ignore[misc]
                "last_seq": literals.integers(row[4] for row in rows),  # type: ignore[misc]
                "reserved": literals.integers(row[5] for row in rows),  # type: ignore[misc]
            },
        )
        claimed = [_claimed(record) for record in await assigned.fetchall()]
        if len(claimed) < len(rows):
            found = {item.session_id for item in claimed}
            lost = [row[0] for row in rows if row[0] not in found]
            await conn.execute(_MEND, {"ids": literals.uuids(lost)})  # type: ignore[arg-type]
        return claimed


def _claimed(record: Sequence[object]) -> Claimed:
    *head, seqs, ids = record
    names = Claimed.__slots__[:-2]  # all but the messages, and what only the accept knows
    messages = tuple(zip(seqs or (), ids or (), strict=True))  # type: ignore[call-overload]
    return Claimed(**dict(zip(names, head, strict=True)), messages=messages)  # type: ignore[arg-type]
