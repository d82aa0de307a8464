"""Which models are left alone after failures, told by each process: a hash in Redis with a field per process.

Only what is open is written, when it changes and every ten seconds while it lasts; a field that is not renewed counts
no more after half a minute. Nothing depends on it but what operators see.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import orjson
import redis
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from agents.breaker import CircuitKey
from tenants.redis import shared_key

log = structlog.get_logger(__name__)

KEY: Final = shared_key("circuits")
LOOK_SECONDS: Final = 1.0
RENEW_SECONDS: Final = 10.0
ALIVE_SECONDS: Final = 30.0
MOST: Final = 50
"""How many open circuits of one process are told."""
_KEPT_SECONDS: Final = 3600

States = Callable[[], Mapping[CircuitKey, str]]


async def tell_circuits(client: redis.asyncio.Redis, worker_id: UUID, states: States) -> None:
    """Tell this process's open circuits until cancelled. A Redis that is away costs nothing but the news."""
    told: list[list[str]] = []
    told_at = 0.0
    while True:
        away = away_of(states())
        due = bool(away) and time.monotonic() - told_at > RENEW_SECONDS
        if away != told or due:
            try:
                await _tell(client, worker_id, away)
                told, told_at = away, time.monotonic()
            except (RedisError, OSError) as error:
                log.info("circuits_not_told", reason=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)


def away_of(states: Mapping[CircuitKey, str]) -> list[list[str]]:
    """Model and address of what is not closed, in order."""
    return [list(pair) for pair in sorted({(key[1], key[0]) for key, state in states.items() if state != "closed"})][
        :MOST
    ]


def told_circuits(client: redis.Redis) -> dict[tuple[str, str], int]:
    """Model and address of what is left alone anywhere, with the number of processes. Raises RedisError."""
    now, found = time.time(), dict[tuple[str, str], int]()
    rows: Any = client.hgetall(KEY)
    for value in rows.values():
        entry = orjson.loads(value)
        if now - entry["at"] <= ALIVE_SECONDS:
            for model, address in entry["away"]:
                found[model, address] = found.get((model, address), 0) + 1
    return dict(sorted(found.items()))


async def _tell(client: redis.asyncio.Redis, worker_id: UUID, away: list[list[str]]) -> None:
    async with client.pipeline(transaction=False) as pipe:
        if away:
            pipe.hset(KEY, str(worker_id), orjson.dumps({"at": time.time(), "away": away}).decode())
            pipe.expire(KEY, _KEPT_SECONDS)
        else:
            pipe.hdel(KEY, str(worker_id))
        await pipe.execute()
