"""Connections as the doors and the outbox use them: looked up by public id, with their adapter, for five seconds.

An unknown id is remembered for one second in a bounded set, so that guessing costs no database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from pydantic import SecretStr

from channels_adapters.base import ChannelAdapter, Credentials, Http, KeySource, Scope
from channels_adapters.registry import ChannelUnknown, adapter_type
from hub.models import Connection
from tenants.crypto import CellRef, Vault
from tenants.db.pools import Pools
from tenants.remembered import Remembered

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
        self._ids = Remembered[tuple[str, str], tuple[UUID, UUID] | None](
            seconds=LIFE_SECONDS, missing_seconds=UNKNOWN_SECONDS, most=MOST
        )
        self._live = Remembered[UUID, LiveConnection | None](
            seconds=LIFE_SECONDS, missing_seconds=UNKNOWN_SECONDS, most=MOST
        )
        self.paused: Callable[[UUID, UUID], None] = lambda *_: None
        """Called with tenant and connection when this process paused one, so that the others hear of it."""

    async def find(self, channel: str, public_id: str) -> LiveConnection | None:
        """The connection behind a webhook address or chat page, or None."""
        known = await self._ids.get((channel, public_id), partial(self._find, channel, public_id))
        return await self.by_id(*known) if known is not None else None

    async def by_id(self, tenant_id: UUID, connection_id: UUID) -> LiveConnection | None:
        """A connection of this tenant, or None."""
        found = await self._live.get(connection_id, partial(self._read, tenant_id, connection_id))
        return found if found is None or found.tenant_id == tenant_id else None

    def forget(self, connection_id: UUID) -> None:
        """Drop a connection that was changed, so that its next use reads it again."""
        self._live.forget(connection_id)
        self._ids.forget_where(lambda _, known: known is not None and known[1] == connection_id)

    def forget_tenant(self, tenant_id: UUID) -> None:
        """Drop all connections of a tenant that was changed."""
        self._live.forget_where(lambda _, found: found is not None and found.tenant_id == tenant_id)
        self._ids.forget_where(lambda _, known: known is not None and known[0] == tenant_id)

    async def _find(self, channel: str, public_id: str) -> tuple[UUID, UUID] | None:
        """Its tenant and its id."""
        async with self._pools.statement("ingest") as conn:
            row = await (await conn.execute(_FIND, (public_id, channel))).fetchone()
        return None if row is None else (row[1], row[0])

    async def _read(self, tenant_id: UUID, connection_id: UUID) -> LiveConnection | None:
        await self._vault.load(tenant_id)
        async with self._pools.app(tenant_id) as conn:
            row = await (await conn.execute(_READ, (connection_id,))).fetchone()
        return None if row is None else self._made(row)

    def _made(self, row: tuple[Any, ...]) -> LiveConnection | None:
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
