"""Asynchronous connections by role. Each block is one transaction; its first statement carries the stamp with it."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline, _queries
from psycopg.pq import ConnStatus, PipelineStatus, TransactionStatus
from psycopg_pool import AsyncConnectionPool

from tenants.db.pipelining import OneSendPipeline
from tenants.db.roles import RoleNames


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one role's pool: connections, milliseconds per statement and per lock, waiters, seconds of waiting."""

    size: int
    statement_ms: int
    lock_ms: int
    transaction_ms: int = 10_000
    """A process that stands still between two statements keeps its tenant's locks no longer than this."""
    warm: int = 0
    waiting: int = 2000
    wait_seconds: float = 5.0


LIMITS: Mapping[str, PoolLimits] = {
    "app": PoolLimits(size=8, statement_ms=10_000, lock_ms=2_000),
    "ingest": PoolLimits(size=4, statement_ms=2_000, lock_ms=100, transaction_ms=3_000, warm=1),
    "queue": PoolLimits(size=4, statement_ms=2_000, lock_ms=100, transaction_ms=3_000, warm=1),
    "ops": PoolLimits(size=2, statement_ms=10_000, lock_ms=2_000, transaction_ms=30_000),
}


# The same few statements for ever, each by key. Planned anew they cost more than they do (3 ms for the accept), and a
# plan made while the tables were small would read them whole until the next ANALYZE.
# For the same reason plans are made anew now and then, soon after a connection was opened and more and more seldom: one
# made for tables of a few pages takes whichever index holds the tenant, and reads all that the tenant has. Turns cost
# three times as much then, until autovacuum's first ANALYZE makes the server forget such a plan by itself.
_REPLAN = "DISCARD PLANS"
# psycopg remembers what it made of a statement's text, but only of short ones. Ours are few, constant and long: reading
# the accept and the commit anew took 0.13 and 0.24 ms of each batch.
_queries.MAX_CACHED_STATEMENT_LENGTH = 32 * 1024
FIRST_REPLAN_SECONDS = 1.0
LAST_REPLAN_SECONDS = 20.0
_STEADY_PLANS: Mapping[str, str] = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}


@dataclass(slots=True)
class _Prologue:
    """Statements that open the transaction, still waiting for the caller's first one to travel with."""

    statements: list[tuple[str, Sequence[str]]] = field(default_factory=list)


class HubConnection(AsyncConnection[Any]):
    """A connection whose BEGIN and stamp are sent together with the first statement."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prologue = _Prologue()
        self.cursor_factory = HubCursor
        self._replan_wait = FIRST_REPLAN_SECONDS
        self._replan_at = time.monotonic() + self._replan_wait

    def plans_are_old(self) -> bool:
        """Whether statements are to be planned anew now; says so once."""
        now = time.monotonic()
        if now < self._replan_at:
            return False
        self._replan_wait = min(2 * self._replan_wait, LAST_REPLAN_SECONDS)
        self._replan_at = now + self._replan_wait
        return True

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        """As psycopg's, but sent in one piece."""
        if self._pipeline is None:
            self._pipeline = OneSendPipeline(self)
        async with super().pipeline() as pipeline:
            yield pipeline


class HubCursor(AsyncCursor[Any]):
    """Sends the connection's prologue ahead of the first statement, in the same round trip."""

    async def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Self:
        """As psycopg's."""
        if not self._waiting:
            return await super().execute(query, params, **kwargs)
        if self.connection.info.pipeline_status != PipelineStatus.OFF:  # a nested one would wait for the server
            await self._open()
            return await super().execute(query, params, **kwargs)
        async with self.connection.pipeline():
            await self._open()
            await super().execute(query, params, **kwargs)
        return self

    async def executemany(self, query: Any, params_seq: Any, **kwargs: Any) -> None:
        """As psycopg's."""
        if self._waiting:
            async with self.connection.pipeline():
                await self._open()
        await super().executemany(query, params_seq, **kwargs)

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        """As psycopg's; COPY cannot share a pipeline, so the prologue costs a round trip here."""
        if self._waiting:
            async with self.connection.pipeline():
                await self._open()
        async with super().copy(statement, params, **kwargs) as copy:
            yield copy

    @property
    def _waiting(self) -> bool:
        return bool(self._prologue.statements)

    @property
    def _prologue(self) -> _Prologue:
        connection = self.connection
        assert isinstance(connection, HubConnection)  # noqa: S101 - the factory is only set there
        return connection.prologue

    async def _open(self) -> None:
        statements, self._prologue.statements = self._prologue.statements, []
        for query, params in statements:
            async with AsyncCursor(self.connection) as cursor:
                await cursor.execute(query, params or None)


class Pools:
    """One bounded pool per role; nothing else in the asynchronous hub makes PostgreSQL connections.

    `dsn` logs in as `<prefix>_login`. With `pooler="transaction"` role, stamp and time limits are set within each
    transaction, because the server connection behind it changes hands; then `direct_dsn` must bypass the pooler.
    """

    def __init__(
        self,
        dsn: str,
        *,
        prefix: str = "hub",
        pooler: str = "",
        direct_dsn: str = "",
        limits: Mapping[str, PoolLimits] | None = None,
    ) -> None:
        if pooler not in ("", "transaction"):
            raise ValueError(f"pooler must be empty or 'transaction', not {pooler!r}")
        self._dsn = dsn
        self._direct_dsn = direct_dsn or dsn
        self._names = RoleNames(prefix)
        self._local = pooler == "transaction"
        self._limits = {**LIMITS, **(limits or {})}
        self._pools = {role: self._make(role) for role in LIMITS}
        self._direct: AsyncConnection[Any] | None = None

    async def open(self, *, wait_seconds: float = 10.0) -> None:
        """Open all pools and wait until the warm ones are connected; raises psycopg_pool.PoolTimeout."""
        for pool in self._pools.values():
            await pool.open(wait=True, timeout=wait_seconds)

    async def close(self) -> None:
        """Close every connection; blocks that still run keep theirs until they end."""
        for pool in self._pools.values():
            await pool.close(timeout=5.0)
        if self._direct is not None:
            await self._direct.close()
            self._direct = None

    def sizes(self) -> dict[tuple[str, str], int]:
        """Per pool: connections `idle` and `busy`, the `most` it may have, and callers `waiting` for one."""
        found = {}
        for role, pool in self._pools.items():
            stats = pool.get_stats()
            idle = stats.get("pool_available", 0)
            found[role, "idle"] = idle
            found[role, "busy"] = stats.get("pool_size", 0) - idle
            found[role, "most"] = stats.get("pool_max", 0)
            found[role, "waiting"] = stats.get("requests_waiting", 0)
        return found

    @asynccontextmanager
    async def app(self, tenant_id: UUID) -> AsyncIterator[AsyncConnection[Any]]:
        """One transaction that sees and changes this tenant's rows only."""
        async with self._transaction("app", {"hub.tenant_id": str(tenant_id)}) as conn:
            yield conn

    async def look(self, tenant_id: UUID, *questions: tuple[str, Sequence[object]]) -> list[list[tuple[Any, ...]]]:
        """The rows of each query on this tenant, all in one transaction and one round trip, COMMIT included."""
        async with self._pools["app"].connection() as conn:
            try:
                async with conn.pipeline():
                    for query, params in self._prologue(conn, "app", {"hub.tenant_id": str(tenant_id)}):
                        await conn.execute(query, params or None)
                    cursors = [await conn.execute(query, params) for query, params in questions]
                    await conn.execute("COMMIT")
                return [await cursor.fetchall() for cursor in cursors]
            except BaseException:  # cancelled too: the connection goes back without an open transaction
                await _roll_back(conn)
                raise

    @asynccontextmanager
    async def ingest(self) -> AsyncIterator[AsyncConnection[Any]]:
        """One transaction of the accepting edge: all tenants, few columns, no body."""
        async with self._transaction("ingest", {}) as conn:
            yield conn

    @asynccontextmanager
    async def queue(self) -> AsyncIterator[AsyncConnection[Any]]:
        """One transaction of claim and settle: queue columns of all tenants."""
        async with self._transaction("queue", {}) as conn:
            yield conn

    @asynccontextmanager
    async def ops(self, reason: str) -> AsyncIterator[AsyncConnection[Any]]:
        """One transaction that reads all tenants' rows, for a reason that the caller audits."""
        if not reason.strip():
            raise ValueError("reading all tenants needs a reason")
        async with self._transaction("ops", {"hub.ops_reason": reason}) as conn:
            yield conn

    @asynccontextmanager
    async def statement(self, role: str) -> AsyncIterator[AsyncConnection[Any]]:
        """One statement of a role that needs no stamp, as its own transaction: a single round trip.

        Behind a transaction pooler the role itself must be set within a transaction, which then is what this opens.
        """
        if self._local:
            async with self._transaction(role, {}) as conn:
                yield conn
        else:
            async with self._pools[role].connection() as conn:
                if conn.plans_are_old():
                    await conn.execute(_REPLAN)
                yield conn

    async def direct(self) -> AsyncConnection[Any]:
        """The process's one long-lived connection (role queue, autocommit) for session locks; made anew when it broke.

        Locks die with the connection, so a holder must check that the same object is returned.
        """
        if self._direct is None or self._direct.closed or self._direct.broken:
            self._direct = await AsyncConnection.connect(
                self._direct_dsn,
                autocommit=True,
                connect_timeout=5,
                application_name="hub-direct",
                options=f"-c role={self._names.runtime('queue')}",
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
            )
        return self._direct

    def _make(self, role: str) -> AsyncConnectionPool[HubConnection]:
        limits = self._limits[role]
        kwargs: dict[str, Any] = {
            "autocommit": True,
            "connect_timeout": 5,
            "application_name": f"hub-{role}",
            # A plan prepared on one server connection is unknown to the next one behind a pooler.
            "prepare_threshold": None if self._local else 3,
        }
        if not self._local:
            kwargs["options"] = " ".join(f"-c {name}={value}" for name, value in self._settings(role).items())
        return AsyncConnectionPool(
            self._dsn,
            connection_class=HubConnection,
            kwargs=kwargs,
            min_size=limits.warm,
            max_size=limits.size,
            max_waiting=limits.waiting,
            timeout=limits.wait_seconds,
            max_idle=300,
            num_workers=1,
            open=False,
            check=_alive,
            name=f"hub-{role}",
        )

    def _settings(self, role: str) -> dict[str, str]:
        limits = self._limits[role]
        steady = {} if role == "ops" else _STEADY_PLANS
        return {
            **steady,
            "role": self._names.runtime(role),
            "statement_timeout": str(limits.statement_ms),
            "lock_timeout": str(limits.lock_ms),
            # Not the limit for idle transactions: the flush at a pipeline's end disarms that one (measured, 18.4).
            "transaction_timeout": str(limits.transaction_ms),
        }

    def _prologue(self, conn: HubConnection, role: str, stamp: Mapping[str, str]) -> list[tuple[str, Sequence[str]]]:
        settings = {**(self._settings(role) if self._local else {}), **stamp}
        statements: list[tuple[str, Sequence[str]]] = [("BEGIN", ())]
        if conn.plans_are_old():
            statements.append((_REPLAN, ()))
        if settings:
            calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
            statements.append((f"SELECT {calls}", [text for pair in settings.items() for text in pair]))
        return statements

    @asynccontextmanager
    async def _transaction(self, role: str, stamp: Mapping[str, str]) -> AsyncIterator[HubConnection]:
        async with self._pools[role].connection() as conn:
            conn.prologue.statements = self._prologue(conn, role, stamp)
            try:
                yield conn
            except BaseException:  # cancelled too: the connection goes back without an open transaction
                conn.prologue.statements = []
                await _roll_back(conn)
                raise
            if conn.prologue.statements:
                conn.prologue.statements = []  # nothing was asked, so nothing was begun
            else:
                await _commit(conn)


async def _alive(conn: HubConnection) -> None:
    """Refuse a connection whose server has gone, as far as the kernel knows: no statement has to fail for that."""
    for _ in range(2):  # the server's last word may be read first, and only then its silence
        conn.pgconn.consume_input()
    if conn.pgconn.status != ConnStatus.OK:
        raise psycopg.OperationalError("the server has closed this connection")


def broke(error: BaseException) -> bool:
    """Whether the connection ended, or the server did; a statement that failed is another matter."""
    state = getattr(error, "sqlstate", None)
    return isinstance(error, psycopg.OperationalError) and (state is None or state.startswith(("08", "57P")))


async def _commit(conn: HubConnection) -> None:
    if conn.info.transaction_status == TransactionStatus.IDLE:  # the block has sent its COMMIT along
        return
    if conn.info.transaction_status == TransactionStatus.INERROR:
        await conn.execute("ROLLBACK")
        raise psycopg.errors.InFailedSqlTransaction("a statement of this block failed, nothing was committed")
    await conn.execute("COMMIT")


async def _roll_back(conn: HubConnection) -> None:
    # A broken or still busy connection is thrown away by the pool; the server then rolls back by itself.
    if conn.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        await conn.execute("ROLLBACK")
