"""API keys at the doors: found once, remembered for less than five seconds, so that a revoked one soon stops."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import psycopg
import structlog

from hub.edges.guard import Refused
from hub.edges.http import Header
from hub.pipeline.changed import Change
from hub.pipeline.inbox import AWAY
from tenants import keys
from tenants.keys import KeyGrant

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
        self._grants: OrderedDict[bytes, tuple[float, KeyGrant | None]] = OrderedDict()
        self._touching: set[asyncio.Task[None]] = set()
        self._forgotten = 0

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
        if change.kind not in ("key", "tenant"):
            return
        self._forgotten += 1
        for digest in [
            key for key, (_, found) in self._grants.items() if found and found.tenant_id == change.tenant_id
        ]:
            del self._grants[digest]

    async def _find(self, runtime: "Runtime", key: str) -> KeyGrant | None:
        if self.forget not in runtime.forgetting:
            runtime.forgetting.append(self.forget)
        digest = hashlib.sha256(key.encode("latin-1", "replace")).digest()
        now = time.monotonic()
        known = self._grants.get(digest)
        if known is not None and known[0] > now:
            return known[1]
        before = self._forgotten
        try:
            grant = await keys.find_by_secret(runtime.pools, key)
        except AWAY:
            raise Refused(503, "unavailable", "please try again shortly", wait=1.0) from None
        if before == self._forgotten:  # else it may have been read before it was revoked
            self._grants[digest] = (now + (UNKNOWN_SECONDS if grant is None else LIFE_SECONDS), grant)
            self._grants.move_to_end(digest)
            if len(self._grants) > MOST:
                self._grants.popitem(last=False)
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
