"""Who is alive: leases renewed by live tasks only, and takeover from processes whose advisory lock is gone.

A process holds one session-level advisory lock on a direct connection. The kernel closes a dead process's socket, so
its lock vanishes at once; one elected scanner then ends its leases. A paused process keeps its lock and is caught by
lease expiry. All times are the database's.
"""

import os
import socket
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from hub.ledger.connections import Lease, RoleConnection
from tenants.db import literals

SCANNER_LOCK = 0x4855_4253_4341_4E00
"""The advisory lock that elects the scanner of a database ("HUBSCAN")."""

_RENEW = """
UPDATE session s SET lease_until = now() + %(lease)s, due_at = now() + %(lease)s
FROM unnest(%(session)s::uuid[], %(fence)s::bigint[]) AS i(id, fence)
WHERE s.id = i.id AND s.fence = i.fence AND s.lease_owner = %(worker)s AND s.turn_id IS NOT NULL
RETURNING s.id
"""

_RELEASE = """
UPDATE session s SET lease_until = now(), due_at = now() + %(delay)s, lease_owner = NULL
FROM unnest(%(session)s::uuid[], %(fence)s::bigint[]) AS i(id, fence)
WHERE s.id = i.id AND s.fence = i.fence AND s.lease_owner = %(worker)s
"""

_REGISTER = """
INSERT INTO worker (id, lock_key, role, host, pid, started_at, seen_at)
VALUES (%(id)s, %(key)s, %(role)s, %(host)s, %(pid)s, now(), now())
ON CONFLICT (id) DO UPDATE SET seen_at = now()
"""

# A restarted server has dropped every lock; workers get three seconds to take theirs again. Otherwise a row without
# its lock is a dead worker at once: the lock is taken before the row is shown. What it held is dated back, because work
# that is just due is left to the preferred runner for a moment, and here that one is gone. A statement that was on its
# way when its process died is carried out all the same, maybe after the scan: what a holder without a row has is late.
_SCAN = """
WITH dead AS (
    DELETE FROM worker w
    WHERE pg_postmaster_start_time() < now() - interval '3 seconds'
      AND NOT EXISTS (
        SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND ((l.classid::bigint << 32) | l.objid::bigint) = w.lock_key)
    RETURNING w.id
), freed AS (
    UPDATE session s SET lease_until = now(), due_at = now() - interval '1 second', lease_owner = NULL
    FROM dead WHERE s.lease_owner = dead.id RETURNING s.id
), orphaned AS (
    UPDATE delivery d SET due_at = now() FROM dead
    WHERE d.lease_owner = dead.id AND d.status = 'sending' RETURNING d.id
), late AS (
    UPDATE session s SET lease_until = now(), due_at = now() - interval '1 second', lease_owner = NULL
    WHERE s.lease_owner IS NOT NULL AND NOT EXISTS (SELECT 1 FROM worker w WHERE w.id = s.lease_owner)
), late_sends AS (
    UPDATE delivery d SET due_at = now()
    WHERE d.status = 'sending' AND d.due_at > now() AND NOT EXISTS (SELECT 1 FROM worker w WHERE w.id = d.lease_owner)
)
SELECT (SELECT count(*) FROM dead), (SELECT count(*) FROM freed), (SELECT count(*) FROM orphaned)
"""

# A claim that was cut off at the end may have landed: what is still ours then is due for others, as if we had died.
_LEAVE = """
WITH gone AS (
    DELETE FROM worker WHERE id = %(id)s
), freed AS (
    UPDATE session SET lease_until = now(), due_at = now() - interval '1 second', lease_owner = NULL
    WHERE lease_owner = %(id)s
)
UPDATE delivery SET due_at = now() WHERE lease_owner = %(id)s AND status = 'sending'
"""

# Slots are counted by claim and commit; whatever a fault left wrong is put right from the rows themselves.
_RECOUNT = """
UPDATE quota q SET used = x.n FROM (
    SELECT q.id, (SELECT count(*) FROM session s WHERE s.tenant_id = q.tenant_id
                  AND s.due_at IS NOT NULL AND s.turn_id IS NOT NULL) AS n
    FROM quota q WHERE q.metric = 'concurrency' ORDER BY q.tenant_id FOR UPDATE OF q
) x WHERE q.id = x.id AND q.used <> x.n
"""


def lock_key(worker_id: UUID) -> int:
    """The worker's advisory lock: 63 bits of its id, never negative."""
    return worker_id.int & 0x7FFF_FFFF_FFFF_FFFF


class Leases:
    """Renewal and release, as hub_queue for one worker."""

    def __init__(self, connection: RoleConnection, lease: Lease, worker_id: UUID) -> None:
        self._connection = connection
        self._lease = lease
        self._worker_id = worker_id

    async def renew(self, held: Sequence[tuple[UUID, int]]) -> set[UUID]:
        """Extend these (session, fence) leases; returns the sessions that are still ours."""
        rows = await self._connection.fetch(_RENEW, {**_pairs(held), "worker": self._worker_id, **self._duration})
        return {row[0] for row in rows}

    async def release(self, held: Sequence[tuple[UUID, int]], *, delay: float = 0.0) -> None:
        """Give these leases back: the turns are due for anyone after `delay` seconds."""
        await self._connection.execute(
            _RELEASE, {**_pairs(held), "worker": self._worker_id, "delay": Lease.seconds(delay)}
        )

    async def recount(self) -> None:
        """Put the tenants' counts of running turns right."""
        await self._connection.execute(_RECOUNT, {})

    @property
    def _duration(self) -> dict[str, object]:
        return {"lease": self._lease.duration}


class Liveness:
    """One process's sign of life on its own direct connection."""

    def __init__(self, connection: AsyncConnection[Any], *, worker_id: UUID, role: str) -> None:
        self._connection = connection
        self._worker_id = worker_id
        self._role = role
        self._scanner = False

    async def register(self) -> None:
        """Take the lock first, then show the row: a row without a lock means a dead worker."""
        key = lock_key(self._worker_id)
        await self._connection.execute("SELECT pg_advisory_lock(%s)", (key,))
        await self._connection.execute(
            _REGISTER,
            {
                "id": self._worker_id,
                "key": key,
                "role": self._role,
                "host": socket.gethostname(),
                "pid": os.getpid(),
            },
        )

    async def beat(self) -> tuple[int, int, int]:
        """Show that we live; the elected scanner ends the leases of the dead. Returns (dead, sessions, deliveries)."""
        shown = await self._connection.execute("UPDATE worker SET seen_at = now() WHERE id = %s", (self._worker_id,))
        if shown.rowcount == 0:  # somebody took us for dead: without the row nobody would see our end
            await self.register()
        if not self._scanner:
            row = await (await self._connection.execute("SELECT pg_try_advisory_lock(%s)", (SCANNER_LOCK,))).fetchone()
            self._scanner = bool(row and row[0])
        if not self._scanner:
            return (0, 0, 0)
        counts = await (await self._connection.execute(_SCAN)).fetchone()
        return counts or (0, 0, 0)

    async def peers(self) -> list[UUID]:
        """The workers that live now, this one included."""
        rows = await (
            await self._connection.execute("SELECT id FROM worker WHERE role IN ('all', 'runner')")
        ).fetchall()
        return [row[0] for row in rows]

    async def others(self) -> bool:
        """Whether any other process of the hub lives: only then does Redis carry chunks."""
        row = await (
            await self._connection.execute(
                "SELECT EXISTS (SELECT 1 FROM worker WHERE id <> %s AND role IN ('all', 'runner', 'gateway'))",
                (self._worker_id,),
            )
        ).fetchone()
        return bool(row and row[0])

    async def leave(self) -> None:
        """A clean end: nobody needs to look for us, and nothing waits for a lease of ours."""
        await self._connection.execute(_LEAVE, {"id": self._worker_id})


def _pairs(held: Sequence[tuple[UUID, int]]) -> dict[str, object]:
    return {
        "session": literals.uuids(session_id for session_id, _ in held),
        "fence": literals.integers(fence for _, fence in held),
    }
