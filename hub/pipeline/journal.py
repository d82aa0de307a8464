"""The finished rounds of running turns, durable before the next one begins: a lost process repeats none of them.

A plain turn (one model call, then its commit) writes nothing here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from hub.ledger.live import FIND_JOURNAL, save_journals
from hub.pipeline import crash, metrics
from hub.pipeline.run import Fenced, Run
from tenants.crypto import CellRef, Vault
from tenants.db.batching import Batcher
from tenants.db.pools import Pools

Row = tuple[UUID, UUID, int, bytes]
"""Tenant, turn, fence, sealed entry."""


@dataclass(frozen=True, slots=True)
class RunJournal:
    """The journal of one run: `agents.journal.Journal`."""

    journals: "Journals"
    run: Run

    async def load(self) -> bytes | None:
        """What an earlier attempt at the turn has kept."""
        return await self.journals.load(self.run)

    async def keep(self, entry: bytes) -> None:
        """Raises Fenced when somebody else holds the session, else what the database raises."""
        if not self.run.claimed.fence:  # begun while its message commits: there is no turn yet that could be kept
            await self.run.adopted.wait()
        await self.journals.keep(self.run, entry)


class Journals:
    """Writes journals; those that come together go in one transaction per tenant."""

    def __init__(self, pools: Pools, vault: Vault) -> None:
        self._pools, self._vault = pools, vault
        self._batcher: Batcher[Row, bool] = Batcher(self._write, max_items=64, max_bytes=4 << 20)

    async def close(self) -> None:
        """Write what waits."""
        await self._batcher.close()

    def of(self, run: Run) -> RunJournal:
        """The journal of a run."""
        return RunJournal(self, run)

    async def load(self, run: Run) -> bytes | None:
        """The entry that the turn has; None without one."""
        tenant_id, turn_id = run.claimed.tenant_id, run.claimed.turn_id
        [rows] = await self._pools.look(tenant_id, (FIND_JOURNAL, (turn_id,)))
        return self._vault.open(_cell(tenant_id, turn_id), bytes(rows[0][0])) if rows else None

    async def keep(self, run: Run, entry: bytes) -> None:
        """Make the entry durable in place of the last one. Raises Fenced, Overloaded, psycopg errors."""
        claimed = run.claimed
        sealed = self._vault.seal(_cell(claimed.tenant_id, claimed.turn_id), entry)
        crash.point("round.before_keep")
        row = (claimed.tenant_id, claimed.turn_id, claimed.fence, sealed)
        if not await self._batcher.submit(row, size=len(sealed)):
            metrics.FENCED.inc()
            raise Fenced
        crash.point("round.kept")

    async def _write(self, rows: Sequence[Row]) -> Sequence[bool | BaseException]:
        # Branches that end together keep the same turn twice: the last entry knows of both.
        by_tenant: dict[UUID, dict[UUID, tuple[UUID, int, bytes]]] = {}
        for tenant_id, turn_id, fence, sealed in rows:
            by_tenant.setdefault(tenant_id, {})[turn_id] = (turn_id, fence, sealed)
        results: dict[UUID, bool | BaseException] = {}
        for tenant_id, group in by_tenant.items():
            try:
                async with self._pools.app(tenant_id) as conn:
                    kept = await save_journals(conn, [group[turn_id] for turn_id in sorted(group)])
                results.update((turn_id, turn_id in kept) for turn_id in group)
            except Exception as error:  # noqa: BLE001 (one tenant's fault must not end the others' turns)
                results.update((turn_id, error) for turn_id in group)
        return [results[turn_id] for _, turn_id, _, _ in rows]


def _cell(tenant_id: UUID, turn_id: UUID) -> CellRef:
    return CellRef(tenant_id, "content", "turn", "journal", turn_id)
