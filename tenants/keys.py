"""API keys: shown once, kept as a hash, found by their prefix. The form is hub_<prefix>_<secret>."""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now
from django.dispatch import Signal

from tenants.context import ops_scope, tenant_scope
from tenants.db.pools import Pools
from tenants.models import ApiKey

SECRET_BYTES: Final = 32
MAX_KEY_CHARS: Final = 128
_FIND: Final = (
    "SELECT k.id, k.tenant_id, k.agent_id, k.hash, k.scopes, t.status <> 'active' "
    "FROM api_key k JOIN tenant t ON t.id = k.tenant_id "
    "WHERE k.prefix = %s AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"
)


revoked = Signal()
"""Sent with `tenant_id` and `key_id` when a key was ended."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key; `key` is the only copy of the secret there will ever be."""

    id: UUID
    key: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.id})"


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What the bearer of a valid key may do."""

    id: UUID
    tenant_id: UUID
    agent_id: UUID | None
    scopes: frozenset[str]
    suspended: bool = False
    """The tenant is suspended: who holds the key is told so, and nothing else."""


def issue(
    tenant_id: UUID,
    *,
    scopes: Iterable[str],
    name: str = "",
    agent_id: UUID | None = None,
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Make a key for a tenant, optionally for one agent only."""
    prefix = base64.b32encode(os.urandom(5)).decode().lower()
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with tenant_scope(tenant_id):
        row = ApiKey.objects.create(
            tenant_id=tenant_id,
            name=name,
            prefix=prefix,
            hash=_hash(secret),
            scopes=sorted(set(scopes)),
            agent_id=agent_id,
            expires_at=expires_at,
        )
    return IssuedKey(id=row.id, key=f"hub_{prefix}_{secret}")


async def find_by_secret(pools: Pools, key: str) -> KeyGrant | None:
    """The grant of a key that is valid now (database clock), or None without saying why."""
    parts = _parts(key)
    if parts is None:
        return None
    async with pools.ingest() as conn:
        row = await (await conn.execute(_FIND, (parts[0],))).fetchone()
    return _grant(row, parts[1])


def find_by_secret_sync(key: str) -> KeyGrant | None:
    """As `find_by_secret`, over Django's connection."""
    parts = _parts(key)
    if parts is None:
        return None
    with ops_scope("look-up of an API key"), connection.cursor() as cursor:
        cursor.execute(_FIND, (parts[0],))
        row = cursor.fetchone()
    return _grant(row, parts[1])


def revoke(tenant_id: UUID, key_id: UUID) -> bool:
    """End a key; whether it was valid before. Caches of grants must not outlive 5 s."""
    with tenant_scope(tenant_id):
        ended = bool(ApiKey.objects.filter(id=key_id, revoked_at=None).update(revoked_at=Now()))
    if ended:
        revoked.send(sender=ApiKey, tenant_id=tenant_id, key_id=key_id)
    return ended


async def touch(pools: Pools, grant: KeyGrant) -> None:
    """Note that a key was used, to the minute, so that a busy key does not write its row each time."""
    async with pools.app(grant.tenant_id) as conn:
        await conn.execute(
            "UPDATE api_key SET last_used_at = now() WHERE tenant_id = %s AND id = %s "
            "AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            (grant.tenant_id, grant.id),
        )


def _hash(secret: str) -> bytes:
    # 256 random bits need no slow hash.
    return hashlib.sha256(secret.encode()).digest()


def _parts(key: str) -> tuple[str, str] | None:
    if len(key) > MAX_KEY_CHARS or not key.isascii() or "\0" in key:
        return None
    hub, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    return (prefix, secret) if hub == "hub" and prefix and secret else None


def _grant(row: tuple[Any, ...] | None, secret: str) -> KeyGrant | None:
    if row is None or not hmac.compare_digest(bytes(row[3]), _hash(secret)):
        return None
    return KeyGrant(id=row[0], tenant_id=row[1], agent_id=row[2], scopes=frozenset(row[4]), suspended=row[5])
