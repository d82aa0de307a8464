"""What commands borrow from a hub process for one piece of asynchronous work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from hub.env import env
from tenants.db.pools import PoolLimits, Pools

if TYPE_CHECKING:
    from channels_adapters.base import ChannelAdapter
    from hub.models import Connection
    from tenants.crypto import Vault

# One command, one connection per role; re-sealing reads pages, so its statements may take longer than a turn's.
_LIMITS = {role: PoolLimits(size=2, statement_ms=60_000, lock_ms=5_000) for role in ("app", "ingest", "queue", "ops")}


@asynccontextmanager
async def opened_pools() -> "AsyncIterator[tuple[Pools, Vault]]":
    """Pools and a vault over them, closed at the end of the block."""
    from tenants.crypto import MasterKeys, Vault

    found = env()
    pooler = "transaction" if found.database_pooler == "transaction" else ""
    pools = Pools(
        found.login_dsn, prefix=found.db_role_prefix, pooler=pooler, direct_dsn=found.direct_dsn, limits=_LIMITS
    )
    await pools.open()
    try:
        yield pools, Vault(MasterKeys(*found.master_keys()), pools)
    finally:
        await pools.close()


@asynccontextmanager
async def adapter_of(row: "Connection") -> "AsyncIterator[ChannelAdapter[Any]]":
    """The connection's adapter as a running hub builds it, behind the guard of outgoing addresses."""
    from hub.runtime import get_runtime

    runtime = await get_runtime()
    try:
        live = await runtime.connections.by_id(row.tenant_id, row.id)
        if live is None:
            raise LookupError(f"connection {row.id} is gone")
        yield live.adapter
    finally:
        await runtime.stop()
