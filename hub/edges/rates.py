"""How often an API key may ask: so many requests a minute by its tenant's plan, counted for all processes in Redis.

Each process counts for itself and adds what Redis last said of the others. The raw doors tell Redis behind the request,
many requests at once: nobody waits for a count. Where Redis does not answer, a process's own count is the limit, so
that an outage opens no door.
The headers are those of draft-ietf-httpapi-ratelimit-headers; `/v1` adds the names that OpenAI's clients read.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import redis
import structlog
from django.conf import settings
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from tenants.models import Tenant
from tenants.redis import connect_sync, key

if TYPE_CHECKING:
    from hub.runtime import Runtime

log = structlog.get_logger(__name__)

WINDOW: Final = 60
"""Seconds in which requests are counted; a window begins with the minute."""
UNLIMITED: Final = -1
PLAN_SECONDS: Final = 30.0
AWAY_SECONDS: Final = 5.0
"""How long Redis is left alone after it did not answer."""
MOST: Final = 10_000
_PLAN: Final = "SELECT p.requests_per_minute FROM tenant t JOIN plan p ON p.id = t.plan_id WHERE t.id = %s"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller may still do in this minute; `resets` in seconds. A `limit` of -1 is none."""

    limit: int
    used: int
    resets: int

    @property
    def exceeded(self) -> bool:
        """Whether this request is one too many."""
        return self.limit != UNLIMITED and self.used > self.limit

    @property
    def remaining(self) -> int:
        """Requests that are left."""
        return max(0, self.limit - self.used)

    def headers(self) -> dict[str, str]:
        """For every answer of a limited caller."""
        if self.limit == UNLIMITED:
            return {}
        return {
            "RateLimit-Policy": f'"minute";q={self.limit};w={WINDOW}',
            "RateLimit": f'"minute";r={self.remaining};t={self.resets}',
        }

    def openai_headers(self) -> dict[str, str]:
        """The same, also as OpenAI's clients read it."""
        if self.limit == UNLIMITED:
            return {}
        return {
            **self.headers(),
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": f"{self.resets}s",
        }


class Counts:
    """This process's own counts, limits it has read, and whether Redis answers."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._others: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._limits: OrderedDict[UUID, tuple[float, int]] = OrderedDict()
        self._untold: dict[tuple[UUID, str, int], int] = {}
        self._telling: asyncio.Task[None] | None = None
        self._away_until = 0.0

    def add(self, who: str, window: int) -> int:
        """Count one request here; returns it together with what other processes were last known to have counted."""
        count = self._counts.pop((who, window), 0) + 1
        _put(self._counts, (who, window), count)
        return count + self._others.get((who, window), 0)

    def note(self, who: str, window: int, total: int, *, own: int) -> None:
        """All processes together have counted `total`, `own` of them told by this one."""
        _put(self._others, (who, window), max(0, total - own))

    def own(self, who: str, window: int) -> int:
        """What this process has counted."""
        return self._counts.get((who, window), 0)

    def tell(self, redis: "AsyncRedis", tenant_id: UUID, who: str, window: int) -> None:
        """Let Redis know of one request, together with whatever else is counted meanwhile."""
        if self.alone or len(self._untold) >= MOST:
            return
        self._untold[tenant_id, who, window] = self._untold.get((tenant_id, who, window), 0) + 1
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell(redis))

    async def _tell(self, redis: "AsyncRedis") -> None:
        while self._untold:
            untold, self._untold = self._untold, {}
            own = [self.own(who, window) for _, who, window in untold]
            try:
                async with redis.pipeline(transaction=False) as pipe:
                    for (tenant_id, who, window), times in untold.items():
                        _count(pipe, tenant_id, who, window, times)
                    answers = await pipe.execute()
            except (RedisError, OSError) as error:
                self.lost(error)
                return
            for (_, who, window), counted, total in zip(untold, own, answers[::2], strict=True):
                self.note(who, window, int(total), own=counted)

    def known_limit(self, tenant_id: UUID) -> int | None:
        """The tenant's limit if it was read lately."""
        found = self._limits.get(tenant_id)
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def keep_limit(self, tenant_id: UUID, limit: int) -> int:
        """Remember a limit for half a minute."""
        self._limits[tenant_id] = (time.monotonic() + PLAN_SECONDS, limit)
        self._limits.move_to_end(tenant_id)
        while len(self._limits) > MOST:
            self._limits.popitem(last=False)
        return limit

    @property
    def alone(self) -> bool:
        """Whether Redis is left alone for the moment."""
        return time.monotonic() < self._away_until

    def lost(self, error: Exception) -> None:
        """Redis did not answer."""
        self._away_until = time.monotonic() + AWAY_SECONDS
        log.warning("rates_counted_alone", reason=type(error).__name__)

    def forget(self) -> None:
        """Begin anew; for a plan that was changed."""
        self._counts.clear()
        self._others.clear()
        self._limits.clear()


COUNTS: Final = Counts()


def spend_sync(tenant_id: UUID, who: str) -> Allowance:
    """Count a request of `who` (`key <id>` at every door, or a console user's name) under the tenant's active scope."""
    limit = COUNTS.known_limit(tenant_id)
    if limit is None:
        limit = COUNTS.keep_limit(tenant_id, Tenant.objects.values_list("plan__requests_per_minute", flat=True).get())
    window, resets = _window()
    if limit == UNLIMITED:
        return Allowance(limit, 0, resets)
    used = COUNTS.add(who, window)
    if not COUNTS.alone:
        try:
            with _client().pipeline(transaction=False) as pipe:
                used = max(used, _counted(_count(pipe, tenant_id, who, window).execute()))
        except (RedisError, OSError) as error:
            COUNTS.lost(error)
    return Allowance(limit, used, resets)


async def spend(runtime: "Runtime", tenant_id: UUID, who: str) -> Allowance:
    """As `spend_sync`, for the raw doors. Raises what the database raises when the plan must be read and cannot be."""
    limit = COUNTS.known_limit(tenant_id)
    if limit is None:
        async with runtime.pools.app(tenant_id) as conn:
            row = await (await conn.execute(_PLAN, (tenant_id,))).fetchone()
        limit = COUNTS.keep_limit(tenant_id, row[0] if row is not None else 0)
    window, resets = _window()
    if limit == UNLIMITED:
        return Allowance(limit, 0, resets)
    COUNTS.tell(runtime.redis, tenant_id, who, window)
    return Allowance(limit, COUNTS.add(who, window), resets)


def as_bytes(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as the raw doors send them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _window() -> tuple[int, int]:
    now = int(time.time())
    return now // WINDOW, WINDOW - now % WINDOW


def _count(pipe: Any, tenant_id: UUID, who: str, window: int, times: int = 1) -> Any:
    name = key(tenant_id, "rate", who.replace(":", "."), window)
    return pipe.incrby(name, times).expire(name, 2 * WINDOW)


def _put(counts: OrderedDict[tuple[str, int], int], name: tuple[str, int], value: int) -> None:
    counts[name] = value
    while len(counts) > MOST:
        counts.popitem(last=False)


def _counted(answers: list[Any]) -> int:
    return int(answers[0])


@lru_cache(maxsize=1)
def _client() -> redis.Redis:
    return connect_sync(settings.HUB_REDIS_URL)
