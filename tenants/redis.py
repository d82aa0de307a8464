"""The only maker of Redis connections, and of the names of keys: none is spelled without its tenant."""

from typing import Final
from uuid import UUID

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0
POOL_WAIT_SECONDS: Final = 2.0
CHECK_SECONDS: Final = 30


def connect(url: str, *, size: int = 64, answer_seconds: float | None = ANSWER_SECONDS) -> redis.asyncio.Redis:
    """An asynchronous client over its own bounded pool (`redis://…` or `unix:///…`); nothing is opened yet.

    `answer_seconds=None` is for blocking reads (XREAD, subscriptions) alone, which bring their own limit. Close it with
    `aclose()`.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=size,
        timeout=POOL_WAIT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=answer_seconds,
        health_check_interval=CHECK_SECONDS,
        retry=AsyncRetry(ExponentialBackoff(cap=0.2, base=0.02), 1),
    )
    return redis.asyncio.Redis.from_pool(pool)


def connect_sync(url: str, *, size: int = 8) -> redis.Redis:
    """A client for commands and Celery workers."""
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=size,
        timeout=POOL_WAIT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        health_check_interval=CHECK_SECONDS,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 1),
    )
    return redis.Redis.from_pool(pool)


def key(tenant_id: UUID, *parts: object, prefix: str = "hub") -> str:
    """The name of a tenant's key: `hub:<tenant>:<part>:<part>`. A part must not contain a colon."""
    return _join(prefix, str(tenant_id), *map(str, parts))


def shared_key(*parts: object, prefix: str = "hub") -> str:
    """The name of a key that carries no tenant's data (wake-ups, workers): `hub:-:<part>`."""
    return _join(prefix, "-", *map(str, parts))


def _join(*parts: str) -> str:
    if len(parts) < 3 or not all(parts) or any(":" in part for part in parts):
        raise ValueError("a key needs at least one part, none of them empty or with a colon")
    return ":".join(parts)
