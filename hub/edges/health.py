"""`/health/live`: the loop turns. `/health/ready`: PostgreSQL answers and the process is not going away."""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
import redis.exceptions
import structlog

from hub.edges.guard import Refused, request_headers
from hub.edges.http import Receive, Scope, Send, respond_json
from hub.edges.metrics import may_see_details
from hub.pipeline.inbox import AWAY
from hub.runtime import get_runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from hub.runtime import Runtime

log = structlog.get_logger(__name__)

ASK_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 1.0
"""An answer is good for a second, so that probes cannot load the database."""


class Readiness:
    """Asks the stores, at most once a second."""

    def __init__(self) -> None:
        self._checks: dict[str, dict[str, Any]] = {}
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def checks(self, runtime: "Runtime") -> dict[str, dict[str, Any]]:
        """For `postgresql` and `redis`: `ok`, `ms`, and `error` by its kind."""
        async with self._lock:
            if time.monotonic() >= self._until:
                postgres, cache = await asyncio.gather(_timed(_postgres(runtime)), _timed(_redis(runtime)))
                self._checks = {"postgresql": postgres, "redis": cache}
                self._until = time.monotonic() + KEEP_SECONDS
        return self._checks


async def _timed(work: "Awaitable[object]") -> dict[str, Any]:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await work
    except (psycopg.Error, redis.exceptions.RedisError, OSError, TimeoutError, *AWAY) as error:
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True, "ms": round((time.perf_counter() - started) * 1000, 2)}


async def _postgres(runtime: "Runtime") -> object:
    async with runtime.pools.statement("ingest") as conn:
        return await (await conn.execute("SELECT 1")).fetchone()


async def _redis(runtime: "Runtime") -> object:
    return await runtime.redis.ping()


_readiness = Readiness()


async def health(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 (an ASGI application)
    """Answer both probes. Details go to this machine or to who holds the token."""
    try:
        headers = request_headers(scope)
        if scope["path"] == "/health/ready":
            await _ready(send, details=may_see_details(scope, headers))
        else:
            live = scope["path"] == "/health/live"
            await respond_json(send, 200 if live else 404, {"status": "live" if live else "unknown"})
    except Refused as refused:
        await respond_json(send, refused.status, {"error": {"code": refused.code, "message": refused.message}})


async def _ready(send: Send, *, details: bool) -> None:
    try:
        runtime = await get_runtime()
    except (psycopg.Error, OSError, *AWAY) as error:
        log.warning("not_started", reason=type(error).__name__)
        await respond_json(send, 503, {"status": "down"})
        return
    checks = await _readiness.checks(runtime)
    if runtime.draining:
        status = "draining"
    elif not checks["postgresql"]["ok"]:
        status = "down"
    else:
        status = "ready" if checks["redis"]["ok"] else "degraded"
    body: dict[str, Any] = {"status": status}
    if details:
        body["checks"] = checks
    await respond_json(send, 200 if status in ("ready", "degraded") else 503, body)
