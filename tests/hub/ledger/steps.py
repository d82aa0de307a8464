"""The ledger's steps as tests say them: accept, claim, commit, settle, each on its own connection."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hub.ledger.accept import Accept, Accepted, Acceptor
from hub.ledger.claim import Claimed, Claimer
from hub.ledger.commit import Commit, Committed, Committer, PartRow
from hub.ledger.connections import Lease, RoleConnection
from hub.ledger.leases import Leases
from hub.ledger.settle import Settle, Settler
from tenants.db.pools import Pools
from tenants.ids import uuid7
from tests.conftest import Database
from tests.support.world import accept_row, until

LEASE = Lease.of(3.0)


class Steps:
    """One tenant with one connection; `worker` is whoever leases."""

    def __init__(self, database: Database, pools: Pools, tenant_id: UUID, agent_id: UUID, public_id: str) -> None:
        self.database, self.pools, self.tenant_id, self.agent_id = database, pools, tenant_id, agent_id
        self.connection_id = self.value("SELECT id FROM connection WHERE public_id = %s", public_id)
        self.ingest, self.queue = RoleConnection(pools, "ingest"), RoleConnection(pools, "queue")
        self.acceptor = Acceptor(self.ingest, LEASE)
        self.worker = uuid4()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.database.rows(query, *values)

    def value(self, query: str, *values: Any) -> Any:
        return self.database.value(query, *values)

    def row(self, **changes: Any) -> Accept:
        return accept_row(self.tenant_id, self.connection_id, self.agent_id, **changes)

    async def accept(self, *rows: Accept) -> list[Accepted | None]:
        results = await self.acceptor.write(rows)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results  # type: ignore[return-value]

    async def say(self, place: bytes = b"p", **changes: Any) -> Accepted:
        [result] = await self.accept(self.row(place=place, **changes))
        assert result is not None
        return result

    async def claim(self, *sessions: UUID, limit: int = 10, worker: UUID | None = None) -> list[Claimed]:
        claimer = Claimer(self.queue, LEASE, worker or self.worker)
        return await claimer.claim(limit=limit, sessions=sessions or None)

    async def commit(
        self, claimed: Claimed, *, parts: int = 0, worker: UUID | None = None, **changes: Any
    ) -> Committed | None:
        committer = Committer(self.pools.app, lease=LEASE, worker_id=worker or self.worker)
        [result] = await committer.write([self.reply(claimed, parts=parts, **changes)])
        if isinstance(result, BaseException):
            raise result
        return result

    def reply(self, claimed: Claimed, *, parts: int = 0, **changes: Any) -> Commit:
        rows = [self.part(index, final=index == parts - 1) for index in range(parts)]
        values: dict[str, Any] = {
            "tenant_id": claimed.tenant_id,
            "session_id": claimed.session_id,
            "turn_id": claimed.turn_id,
            "fence": claimed.fence,
            "message_id": uuid7(),
            "body": b"r",
            "parts": rows,
        }
        return Commit(**{**values, **changes})

    def part(self, index: int, **changes: Any) -> PartRow:
        values: dict[str, Any] = {
            "delivery_id": uuid4(),
            "connection_id": self.connection_id,
            "index": index,
            "final": True,
            "address": b"a",
            "part": b"p",
            "expires": datetime.now(UTC) + timedelta(minutes=15),
        }
        return PartRow(**{**values, **changes})

    def settler(self, worker: UUID | None = None) -> Settler:
        return Settler(self.queue, LEASE, worker or self.worker)

    async def settle(self, delivery_id: UUID, status: Any, *, worker: UUID | None = None, **changes: Any) -> Any:
        session_id = self.value("SELECT session_id FROM delivery WHERE id = %s", delivery_id)
        [result] = await self.settler(worker).write(
            [Settle(delivery_id=delivery_id, session_id=session_id, status=status, **changes)]
        )
        if isinstance(result, BaseException):
            raise result
        return result

    def leases(self, worker: UUID | None = None) -> Leases:
        return Leases(self.queue, LEASE, worker or self.worker)

    def quota(self, metric: str) -> tuple[int, int]:
        row = self.rows("SELECT used, reserved FROM quota WHERE metric = %s AND tenant_id = %s", metric, self.tenant_id)
        return row[0][0], row[0][1]

    def limit(self, metric: str, value: int) -> None:
        self.rows("UPDATE quota SET override = %s WHERE metric = %s AND tenant_id = %s", value, metric, self.tenant_id)

    def expire(self, session_id: UUID) -> None:
        """As if the lease had run out."""
        self.rows(
            "UPDATE session SET lease_until = now() - interval '1 s', due_at = now() - interval '1 s' WHERE id = %s",
            session_id,
        )

    async def blocked(self) -> None:
        """Until some statement waits for a lock."""
        await until(lambda: self.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    def statuses(self) -> list[tuple[int, str]]:
        return [tuple(row) for row in self.rows("SELECT position, status FROM delivery ORDER BY position")]
