"""What a running turn writes before its commit: the text so far, its finished rounds, and the message that is being
written on a platform.

All are refused when the fence is old.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from hub.ledger.connections import Lease
from tenants.db import literals

_PARTIAL = """
UPDATE turn t SET partial = i.partial
FROM unnest(%(turn)s::uuid[], %(fence)s::bigint[], %(partial)s::bytea[]) AS i(id, fence, partial)
WHERE t.id = i.id AND t.fence = i.fence AND t.status = 'running'
"""

_JOURNAL = """
UPDATE turn t SET journal = i.journal
FROM unnest(%(turn)s::uuid[], %(fence)s::bigint[], %(journal)s::bytea[]) AS i(id, fence, journal)
WHERE t.id = i.id AND t.fence = i.fence AND t.status = 'running'
RETURNING t.id
"""
FIND_JOURNAL = "SELECT journal FROM turn WHERE id = %s AND journal IS NOT NULL"

_OPEN = """
WITH held AS (
    UPDATE session SET delivery_seq = delivery_seq + 1, unsettled = unsettled + 1
    WHERE id = %(session)s AND fence = %(fence)s AND turn_id = %(turn)s AND unsettled = 0
    RETURNING tenant_id, delivery_seq
)
INSERT INTO delivery (id, tenant_id, session_id, connection_id, turn_id, message_id, position, part_index, final,
    status, attempts, due_at, expires_at, lease_owner, lease_until, address, part, platform_id, platform_extra, live,
    receipt, detail, created)
SELECT %(id)s, tenant_id, %(session)s, %(connection)s, %(turn)s, %(message)s, delivery_seq, 0, false, 'sending', 1,
    now() + %(lease)s, %(expires)s, %(worker)s, now() + %(lease)s, %(address)s, %(part)s, '', '{}', true, '', '', now()
FROM held RETURNING id
"""

_FIND = """
SELECT id, platform_id, platform_extra FROM delivery
WHERE session_id = %(session)s AND turn_id = %(turn)s AND live AND status = 'live'
ORDER BY position LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRow:
    """The delivery of a message that is being written on the platform."""

    delivery_id: UUID
    session_id: UUID
    connection_id: UUID
    turn_id: UUID
    message_id: UUID
    fence: int
    address: bytes
    part: bytes
    expires: datetime


async def save_partials(conn: AsyncConnection[Any], rows: Sequence[tuple[UUID, int, bytes]]) -> None:
    """Store (turn, fence, sealed text so far) of one tenant's running turns."""
    await conn.execute(
        _PARTIAL,
        {
            "turn": literals.uuids(turn_id for turn_id, _, _ in rows),
            "fence": literals.integers(fence for _, fence, _ in rows),
            "partial": literals.blobs(partial for _, _, partial in rows),
        },
    )


async def save_journals(conn: AsyncConnection[Any], rows: Sequence[tuple[UUID, int, bytes]]) -> set[UUID]:
    """Store (turn, fence, sealed journal) of one tenant's running turns; returns those whose fence still counts."""
    cursor = await conn.execute(
        _JOURNAL,
        {
            "turn": literals.uuids(turn_id for turn_id, _, _ in rows),
            "fence": literals.integers(fence for _, fence, _ in rows),
            "journal": literals.blobs(journal for _, _, journal in rows),
        },
    )
    return {row[0] for row in await cursor.fetchall()}


async def open_live(conn: AsyncConnection[Any], row: LiveRow, *, worker_id: UUID, lease: Lease) -> bool:
    """Commit the attempt as `sending` ahead of the network; False: the fence is old, or earlier parts are under way."""
    cursor = await conn.execute(
        _OPEN,
        {
            "id": row.delivery_id,
            "session": row.session_id,
            "fence": row.fence,
            "turn": row.turn_id,
            "connection": row.connection_id,
            "message": row.message_id,
            "address": row.address,
            "part": row.part,
            "expires": row.expires,
            "worker": worker_id,
            "lease": lease.sending,
        },
    )
    return await cursor.fetchone() is not None


async def find_live(
    conn: AsyncConnection[Any], session_id: UUID, turn_id: UUID
) -> tuple[UUID, str, dict[str, str]] | None:
    """The visible message that an earlier attempt of this turn left: (id, platform id, extra)."""
    row: tuple[UUID, str, dict[str, str]] | None = await (
        await conn.execute(_FIND, {"session": session_id, "turn": turn_id})
    ).fetchone()
    return row
