"""Settle: what became of each send, and the outbox's own claims.

Settling the last part of a place in line leases the next one to the same worker, so that parts of a reply follow each
other without a poll. Locks: session, then delivery.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import psycopg

from hub.ledger.connections import Lease, RoleConnection
from tenants.db import literals

SettledStatus = Literal["sent", "retry", "unknown", "dead", "live"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """The outcome of one attempt. `retry_after` in seconds, for `retry` only."""

    delivery_id: UUID
    session_id: UUID
    status: SettledStatus
    platform_id: str = ""
    platform_extra: str = "{}"
    detail: str = ""
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A delivery leased to this worker and marked `sending`. `stale`: an earlier attempt's outcome is not known."""

    delivery_id: UUID
    tenant_id: UUID
    session_id: UUID
    connection_id: UUID
    attempts: int
    expires_at: datetime
    live: bool
    stale: bool


# `live` is said of a first send only: when the commit was faster (it counts as the second attempt), the row is being
# sent with its last text by now and stays so.
_SETTLE = """
WITH input AS (
    SELECT * FROM unnest(%(id)s::uuid[], %(session)s::uuid[], %(status)s::text[], %(platform)s::text[],
        %(extra)s::text[], %(detail)s::text[], %(after)s::float8[])
        AS t(id, session_id, status, platform_id, platform_extra, detail, after)
), locked AS MATERIALIZED (
    SELECT id FROM session WHERE id IN (SELECT session_id FROM input) ORDER BY id FOR UPDATE
), done AS (
    UPDATE delivery d SET status = CASE WHEN i.status = 'live' AND d.attempts > 1 THEN d.status ELSE i.status END,
        lease_owner = CASE WHEN i.status = 'live' THEN d.lease_owner END,
        lease_until = CASE WHEN i.status = 'live' AND d.attempts > 1 THEN d.lease_until END,
        platform_id = CASE WHEN i.platform_id <> '' THEN left(i.platform_id, 200) ELSE d.platform_id END,
        platform_extra = CASE WHEN i.platform_extra <> '{}' THEN i.platform_extra::jsonb ELSE d.platform_extra END,
        detail = left(i.detail, 300),
        due_at = CASE WHEN i.status = 'live' AND d.attempts > 1 THEN d.due_at
                      WHEN i.status = 'retry' THEN now() + i.after * interval '1 second' END,
        sent_at = CASE WHEN i.status = 'sent' THEN clock_timestamp() END
    FROM input i JOIN locked l ON l.id = i.session_id
    WHERE d.id = i.id AND d.status = 'sending' AND d.lease_owner = %(worker)s
    RETURNING d.id, d.session_id, d.message_id, d.position, d.status
), skipped AS (
    UPDATE delivery d SET status = 'skipped', due_at = NULL, detail = 'an earlier part is dead'
    FROM done WHERE done.status = 'dead' AND d.session_id = done.session_id AND d.message_id = done.message_id
      AND d.position > done.position AND d.status IN ('pending', 'retry')
    RETURNING d.id, d.session_id
), ended AS (
    SELECT session_id, count(*) AS n FROM (
        SELECT session_id FROM done WHERE status IN ('sent', 'unknown', 'dead')
        UNION ALL SELECT session_id FROM skipped
    ) e GROUP BY session_id
), counted AS (
    UPDATE session s SET unsettled = greatest(s.unsettled - e.n, 0) FROM ended e WHERE s.id = e.session_id
), next AS (
    SELECT n.id FROM ended e, LATERAL (
        SELECT d.id, d.status, d.due_at FROM delivery d
        WHERE d.session_id = e.session_id AND d.status IN ('pending', 'retry', 'sending', 'live')
          AND d.id NOT IN (SELECT id FROM done WHERE done.status <> 'retry')
          AND d.id NOT IN (SELECT id FROM skipped)
        ORDER BY d.position LIMIT 1
    ) n WHERE n.status = 'pending' AND n.due_at <= now()
), begun AS (
    UPDATE delivery d SET status = 'sending', attempts = d.attempts + 1, lease_owner = %(worker)s,
        lease_until = now() + %(lease)s, due_at = now() + %(lease)s
    FROM next n WHERE d.id = n.id AND d.status = 'pending'
    RETURNING d.id, d.tenant_id, d.session_id, d.connection_id, d.attempts, d.expires_at, d.live
)
SELECT id, NULL, session_id, NULL, NULL, NULL, NULL FROM done
UNION ALL SELECT id, tenant_id, session_id, connection_id, attempts, expires_at, live FROM begun
"""

_CLAIM = """
WITH due AS (
    SELECT d.id, d.status FROM delivery d
    WHERE d.due_at <= now() AND d.status IN ('pending', 'retry', 'sending')
      AND NOT EXISTS (
        SELECT 1 FROM delivery e WHERE e.session_id = d.session_id AND e.position < d.position
          AND e.status IN ('pending', 'retry', 'sending', 'live'))
    ORDER BY d.due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE delivery d SET status = 'sending', attempts = d.attempts + 1,
    lease_owner = %(worker)s, lease_until = now() + %(lease)s, due_at = now() + %(lease)s
FROM due WHERE d.id = due.id
RETURNING d.id, d.tenant_id, d.session_id, d.connection_id, d.attempts, d.expires_at, d.live, due.status = 'sending'
"""

# All parts or none, and none ahead of an earlier answer. `inline` stays: such an attempt cannot be made again by key.
_TAKE = """
WITH parts AS MATERIALIZED (
    SELECT id, position, status, attempts, platform_extra FROM delivery
    WHERE session_id = %(session)s AND turn_id = %(turn)s ORDER BY position FOR UPDATE
), judged AS (
    SELECT count(*) = count(*) FILTER (WHERE status IN ('sending', 'sent', 'unknown') AND platform_extra ? 'inline')
               AS given,
           bool_and(status = 'pending' AND attempts = 0) AND NOT EXISTS (
               SELECT 1 FROM delivery e WHERE e.session_id = %(session)s AND e.position < min(parts.position)
                 AND e.status IN ('pending', 'retry', 'sending', 'live')) AS free
    FROM parts
), taken AS (
    UPDATE delivery d SET status = 'sending', attempts = 1, platform_extra = '{"inline": "1"}',
        lease_owner = %(worker)s, lease_until = now() + %(lease)s, due_at = now() + %(lease)s
    FROM parts p, judged j WHERE d.id = p.id AND j.free
    RETURNING d.id, d.position
)
SELECT (SELECT given FROM judged), array_agg(id ORDER BY position) FROM taken
"""

_RECEIPT = """
UPDATE delivery d SET receipt = i.receipt
FROM unnest(%(platform)s::text[], %(receipt)s::text[]) AS i(platform_id, receipt)
WHERE d.connection_id = %(connection)s AND d.platform_id = i.platform_id AND d.platform_id <> ''
  AND array_position(ARRAY['', 'sent', 'delivered', 'read', 'failed'], i.receipt)
    > array_position(ARRAY['', 'sent', 'delivered', 'read', 'failed'], d.receipt::text)
RETURNING d.id
"""


class Settler:
    """Records outcomes and leases deliveries as hub_queue for one worker."""

    def __init__(self, connection: RoleConnection, lease: Lease, worker_id: UUID) -> None:
        self._connection = connection
        self._lease = lease
        self._worker_id = worker_id

    async def write(self, rows: Sequence[Settle]) -> list[Sending | bool | BaseException]:
        """Per row: the next delivery leased to us, True when settled, False when the lease was no longer ours.

        A batch that fails on its data is halved until the bad row is alone; that row gets the error.
        """
        try:
            return await self._write(rows)
        except psycopg.DataError as error:
            if len(rows) == 1:
                return [error]
            middle = len(rows) // 2
            return [*await self.write(rows[:middle]), *await self.write(rows[middle:])]

    async def _write(self, rows: Sequence[Settle]) -> list[Sending | bool | BaseException]:
        records = await self._connection.fetch(
            _SETTLE,
            {
                "id": literals.uuids(row.delivery_id for row in rows),
                "session": literals.uuids(row.session_id for row in rows),
                "status": literals.texts(row.status for row in rows),
                "platform": literals.texts(row.platform_id for row in rows),
                "extra": literals.texts(row.platform_extra for row in rows),
                "detail": literals.texts(row.detail for row in rows),
                "after": literals.floats(row.retry_after for row in rows),
                "worker": self._worker_id,
                "lease": self._lease.sending,
            },
        )
        done = {record[0] for record in records if record[1] is None}
        following = {record[2]: _sending((*record, False)) for record in records if record[1] is not None}
        return [following.pop(row.session_id, True) if row.delivery_id in done else False for row in rows]

    async def claim(self, *, limit: int) -> list[Sending]:
        """Deliveries that are due, or whose sender is gone (`stale`), each the first unsettled of its session."""
        records = await self._connection.fetch(
            _CLAIM, {"limit": limit, "worker": self._worker_id, "lease": self._lease.sending}
        )
        return [_sending(record) for record in records]

    async def take_inline(self, session_id: UUID, turn_id: UUID) -> tuple[bool, list[UUID]]:
        """Lease a turn's untried parts to whoever holds a response for them, all or none.

        Returns whether they were given in a response before (also: there are none), and those taken now.
        """
        [(given, taken)] = await self._connection.fetch(
            _TAKE,
            {"session": session_id, "turn": turn_id, "worker": self._worker_id, "lease": self._lease.sending},
        )
        return bool(given), list(taken or ())

    async def receipts(self, connection_id: UUID, receipts: Sequence[tuple[str, str]]) -> int:
        """Note receipts (platform id, kind); they only ever move forward. Returns how many changed something."""
        records = await self._connection.fetch(
            _RECEIPT,
            {
                "connection": connection_id,
                "platform": literals.texts(platform_id for platform_id, _ in receipts),
                "receipt": literals.texts(kind for _, kind in receipts),
            },
        )
        return len(records)


def _sending(record: Sequence[object]) -> Sending:
    return Sending(**dict(zip(Sending.__slots__, record, strict=True)))  # type: ignore[arg-type]
