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
async def adapter_of(row: "Connection", values: dict[str, Any]) -> "AsyncIterator[ChannelAdapter[Any]]":
    """The connection's adapter as a running hub builds it, behind the same guard of outgoing addresses."""
    from channels_adapters.base import Scope
    from channels_adapters.registry import adapter_type
    from hub.egress import Egress

    kind = adapter_type(row.channel)
    async with Egress(allow=env().egress_allow) as egress:
        scope = Scope(connection_id=str(row.id), public_id=row.public_id, name=row.name)
        yield kind(kind.credentials_type(**values), http=egress.http, keys=egress.keys, scope=scope)
