"""Read and open what leased deliveries carry: the address, the part, and what of it is visible already."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog

from channels_adapters.types import Address, Part, SentMessage
from hub.ledger.settle import Sending, Settle
from hub.pipeline.bodies import unpack_address
from hub.pipeline.connections import Connections, LiveConnection
from hub.pipeline.live import from_row
from tenants.crypto import CellRef, Vault
from tenants.db.pools import Pools
from tenants.errors import TenantsError

log = structlog.get_logger(__name__)

_READ = "SELECT id, address, part, platform_id, platform_extra FROM delivery WHERE id = ANY (%s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A delivery leased to us, with everything a send needs."""

    delivery_id: UUID
    tenant_id: UUID
    session_id: UUID
    connection: LiveConnection
    attempts: int
    expires_at: datetime
    address: Address
    part: Part
    shown: SentMessage | None
    """The message that is already visible on the platform and gets its last text."""
    stale: bool
    """An earlier attempt's outcome is not known."""
    inline: bool = False
    """An earlier attempt was a response, which no key makes once only."""
    live: bool = False
    """It opened a message that was to grow; alone it is only the beginning of an answer."""


class Deliveries:
    """Leased deliveries by their rows; the end of one that cannot be sent by anybody is told to `unreadable`."""

    def __init__(
        self, *, pools: Pools, vault: Vault, connections: Connections, unreadable: Callable[[Settle], None]
    ) -> None:
        self._pools, self._vault, self._connections, self._unreadable = pools, vault, connections, unreadable

    async def load(self, sendings: list[Sending]) -> list[Ready]:
        """Read and open what leased deliveries carry, tenant by tenant."""
        by_tenant: dict[UUID, list[Sending]] = {}
        for sending in sendings:
            by_tenant.setdefault(sending.tenant_id, []).append(sending)
        found: list[Ready] = []
        for tenant_id, group in by_tenant.items():
            await self._vault.load(tenant_id)
            async with self._pools.app(tenant_id) as conn:
                rows = await (await conn.execute(_READ, ([item.delivery_id for item in group],))).fetchall()
            contents = {row[0]: row[1:] for row in rows}
            for sending in group:
                ready = await self._opened(sending, contents.get(sending.delivery_id))
                if ready is not None:
                    found.append(ready)
        return found

    async def _opened(self, sending: Sending, content: tuple[Any, ...] | None) -> Ready | None:
        """One leased delivery, ready; one that cannot be sent by anybody is dead and does not hold up the others."""
        try:
            connection = await self._connections.by_id(sending.tenant_id, sending.connection_id)
            if connection is not None and content is not None:
                return self._open(sending, connection, content)
            detail = "the connection is gone"
        except (TenantsError, ValueError, TypeError, LookupError) as error:
            log.warning("delivery_unreadable", delivery_id=str(sending.delivery_id), reason=type(error).__name__)
            detail = f"unreadable: {type(error).__name__}"
        self._unreadable(
            Settle(delivery_id=sending.delivery_id, session_id=sending.session_id, status="dead", detail=detail)
        )
        return None

    def _open(self, sending: Sending, connection: LiveConnection, content: tuple[Any, ...]) -> Ready:
        address, part, platform_id, extra = content
        shown = from_row(platform_id, extra) if sending.live and (platform_id or extra) else None
        return Ready(
            delivery_id=sending.delivery_id,
            tenant_id=sending.tenant_id,
            session_id=sending.session_id,
            connection=connection,
            attempts=sending.attempts,
            expires_at=sending.expires_at,
            address=unpack_address(orjson.loads(self._cell(sending, "address", address))),
            part=Part(**orjson.loads(self._cell(sending, "part", part))),
            shown=shown,
            stale=sending.stale,
            inline="inline" in extra,
            live=sending.live,
        )

    def _cell(self, sending: Sending, column: str, blob: bytes) -> bytes:
        return self._vault.open(
            CellRef(sending.tenant_id, "content", "delivery", column, sending.delivery_id), bytes(blob)
        )
