"""API keys at the doors: found once, remembered for less than five seconds, so that a revoked one soon stops."""

import asyncio
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Final

import psycopg
import structlog

from hub.edges.guard import Refused
from hub.edges.http import Header
from hub.pipeline.changed import Change
from hub.pipeline.inbox import AWAY
from tenants import keys
from tenants.keys import KeyGrant
from tenants.remembered import Remembered

if TYPE_CHECKING:
    from hub.runtime import Runtime

log = structlog.get_logger(__name__)

LIFE_SECONDS: Final = 4.0
UNKNOWN_SECONDS: Final = 1.0
MOST: Final = 10_000
CHALLENGE: Final[Header] = (b"www-authenticate", b"Bearer")


class ApiKeys:
    """The process's cache of grants, by the hash of the key; a key itself is never kept."""

    def __init__(self) -> None:
        self._grants = Remembered[bytes, KeyGrant | None](
            seconds=LIFE_SECONDS, missing_seconds=UNKNOWN_SECONDS, most=MOST
        )
        self._touching: set[asyncio.Task[None]] = set()

    async def admit(self, runtime: "Runtime", authorization: str, *, scope: str) -> KeyGrant:
        """The grant of a bearer key. Raises Refused: 401 without a valid key, 403 without the scope or
        while the tenant is suspended, 503."""
        kind, _, key = authorization.partition(" ")
        grant = await self._find(runtime, key.strip()) if kind.lower() == "bearer" else None
        if grant is None:
            raise Refused(401, "invalid_api_key", "a valid API key is needed: Authorization: Bearer hub_…")
        if grant.suspended:
            raise Refused(403, "tenant_suspended", "the tenant of this API key is suspended")
        if scope not in grant.scopes:
            raise Refused(403, "scope_missing", f"this API key lacks the scope {scope!r}")
        return grant

    def forget(self, change: Change) -> None:
        """A key was revoked or changed: all of its tenant are read again."""
        if change.kind in ("key", "tenant"):
            self._grants.forget_where(lambda _, found: found is not None and found.tenant_id == change.tenant_id)

    async def _find(self, runtime: "Runtime", key: str) -> KeyGrant | None:
        if self.forget not in runtime.forgetting:
            runtime.forgetting.append(self.forget)
        digest = hashlib.sha256(key.encode("latin-1", "replace")).digest()
        try:
            return await self._grants.get(digest, partial(self._read, runtime, key))
        except AWAY:
            raise Refused(503, "unavailable", "please try again shortly", wait=1.0) from None

    async def _read(self, runtime: "Runtime", key: str) -> KeyGrant | None:
        grant = await keys.find_by_secret(runtime.pools, key)
        if grant is not None:
            task = asyncio.create_task(_touch(runtime, grant))
            self._touching.add(task)
            task.add_done_callback(self._touching.discard)
        return grant


async def _touch(runtime: "Runtime", grant: KeyGrant) -> None:
    try:
        await keys.touch(runtime.pools, grant)
    except (psycopg.Error, *AWAY) as error:
        log.info("key_use_not_noted", reason=type(error).__name__)


KEYS: Final = ApiKeys()
