"""Taking back what was said but not yet condensed, and moving a session's memory to whom it turned out to be."""

from uuid import UUID

from memory.store import Connection
from memory.types import Key

_RETRACT = """
DELETE FROM memory_line WHERE tenant_id = %s AND session_id = %s AND seq >= %s AND seq < %s AND batch_id IS NULL
"""
_CONDENSED = "SELECT EXISTS (SELECT 1 FROM memory_batch WHERE tenant_id = %s AND session_id = %s AND last_seq >= %s)"
_BUSY = """
SELECT EXISTS (SELECT 1 FROM memory_batch WHERE tenant_id = %s AND session_id = %s AND state = 'claimed')
"""
_MOVE = (
    "UPDATE memory_line SET subject_id = %s WHERE tenant_id = %s AND session_id = %s",
    "UPDATE memory_batch SET subject_id = %s WHERE tenant_id = %s AND session_id = %s",
    "UPDATE summary SET subject_id = %s WHERE tenant_id = %s AND session_id = %s",
)


async def retract(conn: Connection, key: Key, *, first: int, end: int) -> int:
    """Delete the session's lines with `first <= seq < end` that no batch has claimed; returns how many."""
    return (await conn.execute(_RETRACT, (key.tenant_id, key.session_id, first, end))).rowcount


async def is_condensed(conn: Connection, key: Key, *, first: int) -> bool:
    """Whether lines from `first` on are claimed by a batch already: they cannot be taken back."""
    row = await (await conn.execute(_CONDENSED, (key.tenant_id, key.session_id, first))).fetchone()
    return bool(row and row[0])


async def is_condensing(conn: Connection, key: Key) -> bool:
    """Whether a batch of the session is under way: what it writes would belong to the old subject."""
    row = await (await conn.execute(_BUSY, (key.tenant_id, key.session_id))).fetchone()
    return bool(row and row[0])


async def reassign(conn: Connection, key: Key, *, subject_id: UUID) -> None:
    """Make everything remembered of a session that of another subject, in the caller's transaction."""
    for statement in _MOVE:
        await conn.execute(statement, (subject_id, key.tenant_id, key.session_id))
