"""Changing keys while the hub runs: master keys by rewrapping, a tenant's keys by re-sealing its cells behind it.

Each step may be interrupted and called again: what is done is recognised by the key id in the blob itself.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg import sql

from tenants.crypto.keyring import PURPOSES, CellRef, Purpose, new_key, wrapping_aad
from tenants.crypto.master import MasterKeys
from tenants.crypto.vault import CACHE_SECONDS, Vault
from tenants.db.pools import Pools

REASON: Final = "rotation of the master key"


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of blobs; `table` has `id` and `tenant_id`, and the cell's row is the id."""

    table: str
    column: str
    purpose: Purpose


_columns: dict[tuple[str, str], SealedColumn] = {}


def register_column(table: str, column: str, purpose: Purpose) -> None:
    """Declare a sealed column, once, where its application starts; rotation re-seals only what is declared."""
    if purpose not in PURPOSES:
        raise ValueError(f"unknown purpose {purpose!r}")
    _columns[table, column] = SealedColumn(table, column, purpose)


def registered_columns() -> tuple[SealedColumn, ...]:
    """All declared columns."""
    return tuple(_columns.values())


async def rotate_master(pools: Pools, master: MasterKeys) -> int:
    """Rewrap every data key under the ring's primary; returns how many. Only then may the old master key be removed."""
    async with pools.ops(REASON) as conn:
        tenants = [row[0] for row in await (await conn.execute("SELECT id FROM tenant ORDER BY id")).fetchall()]
    rewrapped = 0
    for tenant_id in tenants:
        rewrapped += await _rewrap(pools, master, tenant_id)
    return rewrapped


async def _rewrap(pools: Pools, master: MasterKeys, tenant_id: UUID) -> int:
    count = 0
    async with pools.app(tenant_id) as conn:
        cursor = await conn.execute(
            "SELECT id, purpose, suite, wrapped FROM data_key WHERE tenant_id = %s FOR UPDATE", (tenant_id,)
        )
        for row_id, purpose, suite, wrapped in await cursor.fetchall():
            if master.is_primary(bytes(wrapped)):
                continue
            aad = wrapping_aad(row_id, tenant_id, purpose)
            fresh = master.wrap(master.unwrap(bytes(wrapped), aad=aad), suite=suite, aad=aad)
            await conn.execute("UPDATE data_key SET wrapped = %s WHERE id = %s", (fresh, row_id))
            count += 1
    return count


async def rotate_tenant(
    pools: Pools, vault: Vault, tenant_id: UUID, purpose: Purpose, *, grace_seconds: float = CACHE_SECONDS
) -> UUID:
    """Add a data key, of the tenant's present suite, for new writes; returns its id. Old ones stay readable.

    It is used after `grace_seconds`, when every process has loaded it: so no reader ever meets a key it lacks. Then
    call `reseal`.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"keys for {purpose!r} are not rotated")
    async with pools.app(tenant_id) as conn:
        row = await (await conn.execute("SELECT suite FROM tenant WHERE id = %s FOR UPDATE", (tenant_id,))).fetchone()
        if row is None:
            raise LookupError(f"there is no tenant {tenant_id}")
        row_id, wrapped = new_key(vault.master, tenant_id=tenant_id, purpose=purpose, suite=row[0])
        await conn.execute(
            "INSERT INTO data_key (id, tenant_id, purpose, suite, wrapped, active_from) "
            "VALUES (%s, %s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))",
            (row_id, tenant_id, purpose, row[0], wrapped, grace_seconds),
        )
    await vault.load(tenant_id, fresh=True)
    return row_id


async def reseal(pools: Pools, vault: Vault, tenant_id: UUID, purpose: Purpose, *, batch: int = 200) -> int:
    """Re-seal the tenant's cells that are not under the active key, then retire the keys nothing needs; returns cells.

    Resumable and safe beside writers: a cell that changed meanwhile is left to them. Old keys are retired only when a
    whole pass finds nothing left and the active key is older than every cache of the one before.
    """
    await vault.load(tenant_id, fresh=True)
    total = 0
    clean = True
    for column in registered_columns():
        if column.purpose == purpose:
            changed, left = await _reseal_column(pools, vault, tenant_id, column, batch=batch)
            total += changed
            clean = clean and not left
    if clean:
        await _retire(pools, vault, tenant_id, purpose)
    return total


async def _reseal_column(
    pools: Pools, vault: Vault, tenant_id: UUID, column: SealedColumn, *, batch: int
) -> tuple[int, bool]:
    """How many cells were changed, and whether some were skipped because a writer was faster."""
    active = vault.active_key(tenant_id, column.purpose)
    table, name = sql.Identifier(column.table), sql.Identifier(column.column)
    select = sql.SQL(
        "SELECT id, {c} FROM {t} WHERE tenant_id = %s AND id > %s AND {c} IS NOT NULL AND length({c}) > 0 "
        "AND substr({c}, 5, 16) <> %s ORDER BY id LIMIT %s"
    ).format(c=name, t=table)
    update = sql.SQL("UPDATE {t} SET {c} = %s WHERE tenant_id = %s AND id = %s AND {c} = %s").format(c=name, t=table)
    after, changed, skipped = UUID(int=0), 0, False
    while True:
        async with pools.app(tenant_id) as conn:
            cursor = await conn.execute(select, (tenant_id, after, active.bytes, batch))
            rows = await cursor.fetchall()
            for row_id, sealed in rows:
                fresh = _again(vault, column, tenant_id=tenant_id, row_id=row_id, sealed=bytes(sealed))
                done = await conn.execute(update, (fresh, tenant_id, row_id, sealed))
                changed += done.rowcount
                skipped = skipped or done.rowcount == 0
        if len(rows) < batch:
            return changed, skipped
        after = rows[-1][0]
        await asyncio.sleep(0)


def _again(vault: Vault, column: SealedColumn, *, tenant_id: UUID, row_id: Any, sealed: bytes) -> bytes:
    ref = CellRef(tenant_id, column.purpose, column.table, column.column, row_id)
    return vault.seal(ref, vault.open(ref, sealed))


async def _retire(pools: Pools, vault: Vault, tenant_id: UUID, purpose: Purpose) -> None:
    active = vault.active_key(tenant_id, purpose)
    async with pools.app(tenant_id) as conn:
        await conn.execute(
            "UPDATE data_key SET retired_at = now() WHERE tenant_id = %s AND purpose = %s AND id <> %s "
            "AND retired_at IS NULL AND active_from < (SELECT active_from FROM data_key WHERE id = %s) "
            "AND (SELECT active_from FROM data_key WHERE id = %s) <= clock_timestamp() - make_interval(secs => %s)",
            (tenant_id, purpose, active, active, active, CACHE_SECONDS),
        )
    await vault.load(tenant_id, fresh=True)
