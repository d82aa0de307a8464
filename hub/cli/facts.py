"""How the hub stands by its rows and its Redis: what `hub status` shows and `hub doctor` judges. Asks, changes nothing.

Read as the operators' role, over a connection of its own, with time limits: a hub in trouble is when this is asked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, LiteralString

import psycopg
import redis
from psycopg import sql
from psycopg.rows import dict_row

from hub.env import Env

STATEMENT_SECONDS = 5
QUEUE = "hub"
"""Celery's list in Redis, by its name in `hub.celery`."""

_PROCESSES = """
SELECT w.role, w.host, w.pid, extract(epoch FROM now() - w.started_at)::float8 AS up,
       extract(epoch FROM now() - w.seen_at)::float8 AS seen,
       EXISTS (SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND ((l.classid::bigint << 32) | l.objid::bigint) = w.lock_key) AS alive
FROM worker w ORDER BY w.role, w.started_at LIMIT 200
"""
_TURNS = """
SELECT count(*) FILTER (WHERE turn_id IS NULL AND due_at <= now()) AS due,
       count(*) FILTER (WHERE turn_id IS NOT NULL AND lease_until > now()) AS running,
       count(*) FILTER (WHERE turn_id IS NOT NULL AND lease_until <= now()) AS expired,
       coalesce(extract(epoch FROM
           now() - min(due_since) FILTER (WHERE turn_id IS NULL AND due_at <= now())), 0)::float8 AS oldest
FROM session WHERE due_at IS NOT NULL
"""
_DELIVERIES = """
SELECT count(*) FILTER (WHERE status = 'pending') AS pending, count(*) FILTER (WHERE status = 'retry') AS retry,
       count(*) FILTER (WHERE status IN ('sending', 'live')) AS sending,
       coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0)::float8 AS oldest
FROM delivery WHERE status IN ('pending', 'retry', 'sending', 'live')
"""
_LETTERS = """
SELECT count(*) FILTER (WHERE status = 'dead') AS dead, count(*) FILTER (WHERE status = 'unknown') AS unknown
FROM delivery WHERE status IN ('dead', 'unknown')
"""
_SUMMARIES = """
SELECT count(*) AS waiting, count(*) FILTER (WHERE due_at < now() - interval '10 minutes') AS late
FROM memory_batch WHERE state = 'claimed'
"""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the hub, by its row; `up` and `seen` in seconds. It lives as long as it holds its lock."""

    role: str
    host: str
    pid: int
    up: float
    seen: float
    alive: bool


@dataclass(frozen=True, slots=True)
class Queues:
    """What waits; ages in seconds. `tasks` is None where Redis, or another broker, was not asked."""

    due: int = 0
    running: int = 0
    expired: int = 0
    oldest_due: float = 0.0
    pending: int = 0
    retry: int = 0
    sending: int = 0
    oldest_delivery: float = 0.0
    dead: int = 0
    unknown: int = 0
    summaries: int = 0
    late_summaries: int = 0
    tasks: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """How the hub stands."""

    processes: tuple[Process, ...] = ()
    queues: Queues = field(default_factory=Queues)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> dict[str, int]:
        """Living processes by role."""
        found: dict[str, int] = {}
        for one in self.processes:
            found[one.role] = found.get(one.role, 0) + one.alive
        return found

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "roles": self.roles}


@contextmanager
def looking(env: Env, *, reason: str) -> "Iterator[psycopg.Connection[dict[str, Any]]]":
    """A read-only connection that sees all tenants' rows, for an operator's written reason."""
    options = f"-c statement_timeout={STATEMENT_SECONDS}s -c default_transaction_read_only=on"
    with psycopg.connect(
        env.direct_dsn, connect_timeout=5, options=options, autocommit=True, row_factory=dict_row
    ) as conn:
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{env.db_role_prefix}_ops")))
        conn.execute("SELECT set_config('hub.ops_reason', %s, false)", (reason,))
        yield conn


def gather(env: Env, *, reason: str) -> Facts:
    """How it stands now. Raises psycopg errors; a Redis that does not answer is left out."""
    with looking(env, reason=reason) as conn:
        processes = tuple(Process(**row) for row in conn.execute(_PROCESSES).fetchall())
        turns, out, letters, batches = (_one(conn, query) for query in (_TURNS, _DELIVERIES, _LETTERS, _SUMMARIES))
        postgres = conn.info.parameter_status("server_version") or ""
    server, tasks = _redis(env)
    queues = Queues(
        due=turns["due"],
        running=turns["running"],
        expired=turns["expired"],
        oldest_due=turns["oldest"],
        pending=out["pending"],
        retry=out["retry"],
        sending=out["sending"],
        oldest_delivery=out["oldest"],
        dead=letters["dead"],
        unknown=letters["unknown"],
        summaries=batches["waiting"],
        late_summaries=batches["late"],
        tasks=tasks,
    )
    return Facts(processes, queues, {"hub": version("agent-hub"), "postgresql": postgres, "redis": server})


def _one(conn: "psycopg.Connection[dict[str, Any]]", query: LiteralString) -> dict[str, Any]:
    return conn.execute(query).fetchone() or {}


def _redis(env: Env) -> tuple[str, int | None]:
    """The server's version, and how many Celery tasks wait; empty and None where it does not answer."""
    try:
        with redis.Redis.from_url(env.redis, socket_timeout=2, socket_connect_timeout=2) as client:
            told = client.info("server")
            name = "Valkey" if "valkey_version" in told else "Redis"
            number = told.get("valkey_version") or told.get("redis_version", "")
            waiting = client.llen(QUEUE) if env.broker_url is None else None
            return f"{name} {number}", None if waiting is None else int(waiting)
    except redis.RedisError:
        return "", None
