"""Connections as the doors and the outbox use them: looked up by public id, with their adapter, for five seconds.

An unknown id is remembered for one second in a bounded set, so that guessing costs no database.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from pydantic import SecretStr

from channels_adapters.base import ChannelAdapter, Credentials, Http, KeySource, Scope
from channels_adapters.registry import ChannelUnknown, adapter_type
from hub.models import Connection
from tenants.crypto import CellRef, Vault
from tenants.db.pools import Pools

LIFE_SECONDS = 5.0
UNKNOWN_SECONDS = 1.0
MOST = 10_000
SUSPENDED = "suspended"
"""The status of an active connection whose tenant is suspended."""

_FIND = "SELECT id, tenant_id FROM connection WHERE public_id = %s AND channel = %s"
_READ = """
SELECT c.id, c.tenant_id, c.public_id, c.channel, c.name, c.agent_id, c.burst, c.debounce_ms, c.on_unknown,
       c.delivery_window, c.allowed_origins, c.status, t.language, t.status, c.secrets
FROM connection c JOIN tenant t ON t.id = c.tenant_id WHERE c.id = %s
"""


@dataclass(frozen=True, slots=True)
class LiveConnection:
    """A connection ready for use. `delivery_window` is in seconds; `language` is the tenant's."""

    id: UUID
    tenant_id: UUID
    public_id: str
    channel: str
    name: str
    agent_id: UUID
    burst: str
    debounce_ms: int
    on_unknown: str
    delivery_window: float
    allowed_origins: tuple[str, ...]
    status: str
    language: str
    adapter: ChannelAdapter[Any]
    id_text: str = field(init=False)
    """The id as text, which each message's hashes hold."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id_text", str(self.id))

    @property
    def merge(self) -> bool:
        """Whether what waits goes into one turn; programs get one turn per message."""
        return self.burst == "merge" and not self.adapter.capabilities.machine

    @property
    def active(self) -> bool:
        """Whether messages are answered."""
        return self.status == "active"

    @property
    def suspended(self) -> bool:
        """Whether the tenant is suspended: its people are told so, and what was begun is still finished and sent."""
        return self.status == SUSPENDED

    @property
    def refusal(self) -> str:
        """Why every message is refused here; empty: none is."""
        return SUSPENDED if self.suspended else ""

    @property
    def at_once(self) -> bool:
        """Whether an idle session's turn may begin with its message."""
        return self.debounce_ms == 0 and not self.suspended

    @property
    def listening(self) -> bool:
        """Whether messages are taken, if only to refuse them politely, and deliveries sent."""
        return self.active or self.suspended


def secrets_cell(tenant_id: UUID, connection_id: UUID) -> CellRef:
    """Where a connection's credentials are sealed."""
    return CellRef(tenant_id, "credentials", "connection", "secrets", connection_id)


def reveal(credentials: Credentials) -> dict[str, Any]:
    """Credentials as plain JSON values, for sealing only."""
    values = credentials.model_dump()
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def seal_credentials(vault: Vault, row: Connection, values: Mapping[str, Any]) -> Credentials:
    """Check `values` against the channel's Credentials and seal them into `row.secrets`; the caller saves the row.

    Raises pydantic.ValidationError with every field that is wrong, ChannelUnknown for a channel that does not exist.
    """
    credentials = adapter_type(row.channel).credentials_type(**values)
    vault.load_sync(row.tenant_id)
    row.secrets = vault.seal(secrets_cell(row.tenant_id, row.id), orjson.dumps(reveal(credentials)))
    return credentials


def open_credentials(vault: Vault, row: Connection) -> dict[str, Any]:
    """The stored values of a connection's credentials, in the clear."""
    vault.load_sync(row.tenant_id)
    found: dict[str, Any] = orjson.loads(vault.open(secrets_cell(row.tenant_id, row.id), bytes(row.secrets)))
    return found


class Connections:
    """The process's cache of live connections."""

    def __init__(self, *, pools: Pools, vault: Vault, http: Http, keys: KeySource) -> None:
        self._pools = pools
        self._vault = vault
        self._http = http
        self._keys = keys
        self._by_public: OrderedDict[tuple[str, str], tuple[float, LiveConnection | None]] = OrderedDict()
        self._by_id: OrderedDict[UUID, tuple[float, LiveConnection | None]] = OrderedDict()
        self._forgotten = 0
        self.paused: Callable[[UUID, UUID], None] = lambda *_: None
        """Called with tenant and connection when this process paused one, so that the others hear of it."""

    async def find(self, channel: str, public_id: str) -> LiveConnection | None:
        """The connection behind a webhook address or chat page, or None."""
        known = _fresh(self._by_public, (channel, public_id))
        if known is not None:
            return known[1]
        before = self._forgotten
        async with self._pools.statement("ingest") as conn:
            row = await (await conn.execute(_FIND, (public_id, channel))).fetchone()
        found = None if row is None else await self.by_id(row[1], row[0])
        if before == self._forgotten:
            _keep(self._by_public, (channel, public_id), found)
        return found

    async def by_id(self, tenant_id: UUID, connection_id: UUID) -> LiveConnection | None:
        """A connection of this tenant, or None."""
        known = _fresh(self._by_id, connection_id)
        if known is not None:
            found = known[1]
            return found if found is None or found.tenant_id == tenant_id else None
        before = self._forgotten
        await self._vault.load(tenant_id)
        async with self._pools.app(tenant_id) as conn:
            row = await (await conn.execute(_READ, (connection_id,))).fetchone()
        found = None if row is None else self._live(row)
        if before == self._forgotten:  # else it may have been read before it was changed
            _keep(self._by_id, connection_id, found)
        return found

    def forget(self, connection_id: UUID) -> None:
        """Drop a connection that was changed, so that its next use reads it again."""
        self._forgotten += 1
        self._by_id.pop(connection_id, None)
        for key in [key for key, (_, found) in self._by_public.items() if found and found.id == connection_id]:
            del self._by_public[key]

    def forget_tenant(self, tenant_id: UUID) -> None:
        """Drop all connections of a tenant that was changed."""
        for connection_id in [key for key, (_, found) in self._by_id.items() if found and found.tenant_id == tenant_id]:
            self.forget(connection_id)
        self._forgotten += 1

    def _live(self, row: tuple[Any, ...]) -> LiveConnection | None:
        *values, tenant_status, secrets = row
        ident, tenant_id, public_id, channel, name, agent_id, burst, debounce, on_unknown, window, origins = values[:11]
        status, language = values[11:]
        try:
            kind = adapter_type(channel)
        except ChannelUnknown:
            return None
        stored = orjson.loads(self._vault.open(secrets_cell(tenant_id, ident), bytes(secrets)))
        adapter = kind(
            kind.credentials_type(**stored),
            http=self._http,
            keys=self._keys,
            scope=Scope(connection_id=str(ident), public_id=public_id, name=name),
        )
        return LiveConnection(
            id=ident,
            tenant_id=tenant_id,
            public_id=public_id,
            channel=channel,
            name=name,
            agent_id=agent_id,
            burst=burst,
            debounce_ms=debounce,
            on_unknown=on_unknown,
            delivery_window=float(window or adapter.capabilities.delivery_window),
            allowed_origins=tuple(origins),
            status=SUSPENDED if tenant_status != "active" and status == "active" else status,
            language=language,
            adapter=adapter,
        )


def _fresh(
    cache: OrderedDict[Any, tuple[float, LiveConnection | None]], key: Any
) -> tuple[float, LiveConnection | None] | None:
    entry = cache.get(key)
    if entry is None or entry[0] < time.monotonic():
        return None
    return entry


def _keep(cache: OrderedDict[Any, tuple[float, LiveConnection | None]], key: Any, found: LiveConnection | None) -> None:
    cache[key] = (time.monotonic() + (UNKNOWN_SECONDS if found is None else LIFE_SECONDS), found)
    cache.move_to_end(key)
    while len(cache) > MOST:
        cache.popitem(last=False)
