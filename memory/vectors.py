"""Vectors are the one thing of memory that is stored in the clear; a tenant can do without them."""

from dataclasses import replace
from uuid import UUID

from memory.packing import no_vectors, pack, unpack
from tenants.db.pools import Pools

PAGE = 200
_WITHOUT = "SELECT id FROM tenant WHERE NOT vectors"
_FIND = """
SELECT id, shelf FROM summary
WHERE tenant_id = %s AND embedder <> '' AND NOT (SELECT t.vectors FROM tenant t WHERE t.id = %s)
ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED"""
_DROP = "UPDATE summary SET vector = NULL, embedder = '', shelf = %s WHERE tenant_id = %s AND id = %s"


async def drop(pools: Pools, tenant_id: UUID) -> int:
    """Remove the stored vectors of a tenant that has switched them off; how many fragments had some."""
    total, page = 0, PAGE
    while page == PAGE:
        async with pools.app(tenant_id) as conn:
            rows = await (await conn.execute(_FIND, [tenant_id, tenant_id, PAGE])).fetchall()
            for ident, blob in rows:
                vectors, scales = no_vectors()
                bare = replace(unpack(bytes(blob)), vectors=vectors, scales=scales)
                await conn.execute(_DROP, [pack(bare), tenant_id, ident])
        page = len(rows)
        total += page
    return total


async def sweep(pools: Pools) -> int:
    """`drop` for every tenant without vectors: what was being made when one was switched off is removed here."""
    async with pools.ops("upkeep: who has switched vectors off") as conn:
        tenants = [row[0] for row in await (await conn.execute(_WITHOUT)).fetchall()]
    return sum([await drop(pools, tenant_id) for tenant_id in tenants])
