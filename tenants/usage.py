"""What model calls cost, written and settled in the transaction that commits what they were for."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection

from tenants.db import literals
from tenants.ids import uuid7
from tenants.quotas import PERIOD_START, USED


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One model call. `cost` is in the currency of the price list; `estimated` where the provider did not count."""

    tenant_id: UUID
    kind: str
    provider: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: Decimal = Decimal(0)
    estimated: bool = False
    session_id: UUID | None = None
    turn_id: UUID | None = None
    agent_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a claim added to `quota.reserved` (tokens_per_day and concurrency) and what its end gives back."""

    tenant_id: UUID
    tokens: int = 0
    slots: int = 0


_INSERT: Final = """
INSERT INTO usage (tenant_id, kind, provider, model, input_tokens, output_tokens, cached_tokens, cost, estimated,
                   session_id, turn_id, agent_id, id)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
                     %s::numeric[], %s::boolean[], %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[])
"""
# Locked in one order before anything changes: two batches of the same tenants never wait for each other in a circle.
_SETTLE: Final = f"""
WITH part AS (
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::bigint[]) AS p(tenant_id, metric, spent, held)
), change AS (
    SELECT tenant_id, metric, sum(spent) AS spent, sum(held) AS held FROM part GROUP BY 1, 2
), locked AS (
    SELECT q.id FROM quota q JOIN change USING (tenant_id, metric) ORDER BY q.tenant_id, q.metric FOR UPDATE OF q
)
UPDATE quota q
SET used = {USED} + c.spent, reserved = greatest(0, q.reserved - c.held), period_start = {PERIOD_START}
FROM locked l, change c, tenant t
WHERE q.id = l.id AND c.tenant_id = q.tenant_id AND c.metric = q.metric AND t.id = q.tenant_id
"""  # noqa: S608 - only our own constants are joined


async def note(conn: AsyncConnection[Any], spent: Sequence[Spent]) -> None:
    """Write usage rows, in the transaction of a commit that counts their tokens itself."""
    if spent:
        await conn.execute(_INSERT, _columns(spent))


async def settle(conn: AsyncConnection[Any], spent: Sequence[Spent], reservations: Sequence[Reservation] = ()) -> None:
    """Write usage rows, count their tokens and give reservations back, in the caller's transaction and nothing else.

    Runs as the application role of the tenant that all rows belong to. Not idempotent: the caller's fence decides
    that it happens once.
    """
    await note(conn, spent)
    parts = [(row.tenant_id, "tokens_per_day", row.input_tokens + row.output_tokens, 0) for row in spent]
    for held in reservations:
        parts.append((held.tenant_id, "tokens_per_day", 0, held.tokens))
        parts.append((held.tenant_id, "concurrency", 0, held.slots))
    if parts:
        tenants, metrics, used, held_back = zip(*parts, strict=True)
        kinds = (literals.uuids(tenants), literals.texts(metrics), literals.integers(used))
        await conn.execute(_SETTLE, [*kinds, literals.integers(held_back)])


def _columns(spent: Sequence[Spent]) -> list[str]:
    """The parameters of the insert, in its order."""
    return [
        literals.uuids(row.tenant_id for row in spent),
        literals.texts(row.kind for row in spent),
        literals.texts(row.provider for row in spent),
        literals.texts(row.model for row in spent),
        literals.integers(row.input_tokens for row in spent),
        literals.integers(row.output_tokens for row in spent),
        literals.integers(row.cached_tokens for row in spent),
        literals.numbers(row.cost for row in spent),
        literals.booleans(row.estimated for row in spent),
        literals.uuids(row.session_id for row in spent),
        literals.uuids(row.turn_id for row in spent),
        literals.uuids(row.agent_id for row in spent),
        literals.uuids(uuid7() for _ in spent),
    ]
