"""One process's parts, made here and handed down by constructor, started once and stopped in order."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import aiohttp
import psycopg
import structlog
from redis.asyncio import Redis

from agents.pool import WarmStates
from agents.runtime import AgentRuntime, make_runtime
from hub.configured import default_route, embedding_endpoint
from hub.egress import Egress, GuardedHttp, Keys
from hub.env import Env, env
from hub.ledger.accept import Acceptor
from hub.ledger.claim import Claimer
from hub.ledger.connections import Lease, RoleConnection
from hub.ledger.leases import Leases, Liveness
from hub.ledger.settle import Settler
from hub.pipeline import crash, metrics
from hub.pipeline.chat import Chat
from hub.pipeline.connections import Connections
from hub.pipeline.inbox import Inbox
from hub.pipeline.messages import History
from hub.pipeline.outbox import Outbox
from hub.pipeline.places import Places
from hub.pipeline.pressure import Pressure
from hub.pipeline.remote import RedisLink
from hub.pipeline.rows import Recent
from hub.pipeline.runner import Runner
from hub.pipeline.streams import Streams
from hub.pipeline.sweep import Sweeper, send_summary_soon
from hub.pipeline.turns import Turns
from memory.embeddings.choice import choose
from memory.memory import Memory
from tenants import redis as redis_connections
from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import Pools
from tenants.db.roles import check_login
from tenants.ids import uuid7

log = structlog.get_logger(__name__)

BEAT_SECONDS = 0.3
_RUNS_TURNS = ("all", "runner")


@dataclass(slots=True)
class Stores:
    """Where a process keeps and fetches things."""

    pools: Pools
    vault: Vault
    redis: Redis
    subscriber: Redis
    egress: Egress


def make_stores(settings: Env) -> Stores:
    """Connections of one process; nothing is opened yet."""
    pools = Pools(
        settings.login_dsn,
        prefix=settings.db_role_prefix,
        pooler="transaction" if settings.database_pooler == "transaction" else "",
        direct_dsn=settings.direct_dsn,
    )
    return Stores(
        pools=pools,
        vault=Vault(MasterKeys(*settings.master_keys()), pools),
        redis=redis_connections.connect(settings.redis),
        subscriber=redis_connections.connect(settings.redis, size=4, answer_seconds=None),
        egress=Egress(allow=settings.egress_allow),
    )


def make_memory(settings: Env, stores: Stores, session: aiohttp.ClientSession) -> Memory:
    """Memory over these stores, with the operator's embedding endpoint or the bundled model."""
    embedder = choose(cache=settings.layout.root / "models", endpoint=embedding_endpoint(settings), session=session)
    return Memory(pools=stores.pools, vault=stores.vault, embedder=embedder, redis=stores.redis)


class Runtime:
    """Everything of one process. `start` is idempotent; `drain` lets what is open finish; `stop` ends the rest."""

    agents: AgentRuntime
    memory: Memory
    connections: Connections
    inbox: Inbox
    streams: Streams
    chat: Chat
    outbox: Outbox
    runner: Runner | None
    turns: Turns
    keys: Keys
    pressure: Pressure

    def __init__(self, settings: Env) -> None:
        self.env = settings
        self.worker_id: UUID = uuid7()
        self.lease = Lease.of(settings.lease_seconds)
        self.stores = make_stores(settings)
        self.pools, self.vault, self.redis = self.stores.pools, self.stores.vault, self.stores.redis
        self.link = RedisLink(self.redis, self.stores.subscriber, self.vault)
        self.started = False
        self.draining = False
        self.leaving: list[Callable[[float], Awaitable[object]]] = []
        """What the doors do when the process goes away, within so many seconds."""
        self._starting: asyncio.Lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._peers: list[UUID] = []
        self._liveness: Liveness | None = None

    @property
    def http(self) -> aiohttp.ClientSession:
        """The guarded session for model calls."""
        return self.stores.egress.session

    async def start(self) -> None:
        """Open connections, check the login, begin to work. Raises LoginRefused, psycopg errors."""
        async with self._starting:
            if self.started:
                return
            crash.arm(self.env.crash_at)
            await self._open()
            self._build()
            await self.link.start()
            await self._register()
            if self.runner is not None:
                self.runner.start()
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._beating()), loop.create_task(self._watching_loop())]
            if self.runner is not None:
                self._tasks.append(loop.create_task(self.memory.warm()))
            self.started = True
            log.info("runtime_started", role=self.env.role, worker=str(self.worker_id))

    async def _open(self) -> None:
        await self.stores.egress.open()
        await self.pools.open()
        await asyncio.to_thread(self._check_login)

    def _check_login(self) -> None:
        with psycopg.connect(self.env.direct_dsn, connect_timeout=5) as conn:
            check_login(conn)

    def _build(self) -> None:
        settings, pools, vault = self.env, self.pools, self.vault
        queue, ingest = RoleConnection(pools, "queue"), RoleConnection(pools, "ingest")
        settler = Settler(queue, self.lease, self.worker_id)
        guarded = GuardedHttp(self.stores.egress)
        self.keys = Keys(guarded)
        history, recent, places = History(pools, vault), Recent(), Places()
        self.memory = make_memory(settings, self.stores, self.http)
        self.agents = make_runtime(
            session=self.http,
            pools=pools,
            vault=vault,
            memory=self.memory,
            default_route=default_route(settings),
            warm=WarmStates(most=settings.l1_sessions),
        )
        self.connections = Connections(pools=pools, vault=vault, http=guarded, keys=self.keys)
        self.streams = Streams(history.chunks, history.saved)
        self.inbox = Inbox(
            acceptor=Acceptor(ingest, self.lease), settler=settler, vault=vault, recent=recent, places=places
        )
        self.outbox = Outbox(
            pools=pools,
            vault=vault,
            connections=self.connections,
            settler=settler,
            lease=self.lease,
            worker_id=self.worker_id,
            fixed_retries=settings.retry_policy == "fixed",
        )
        self.pressure = Pressure(self.agents.warm, limit=float(settings.memory_limit_percent))
        self.turns = Turns(
            pools=pools,
            vault=vault,
            connections=self.connections,
            agents=self.agents,
            streams=self.streams,
            outbox=self.outbox,
            recent=recent,
            places=places,
            worker_id=self.worker_id,
        )
        self.runner = self._make_runner(queue) if settings.role in _RUNS_TURNS else None
        self.chat = Chat(
            inbox=self.inbox, streams=self.streams, pools=pools, vault=vault, history=history, runner=self.runner
        )
        self.chat.link = self.link
        self.streams.link = self.link
        self.turns.ending.summarise = send_summary_soon
        self._wire()

    def _make_runner(self, queue: RoleConnection) -> Runner:
        return Runner(
            turns=self.turns,
            claimer=Claimer(queue, self.lease, self.worker_id),
            leases=Leases(queue, self.lease, self.worker_id),
            outbox=self.outbox,
            lease=self.lease,
            worker_id=self.worker_id,
            capacity=self.env.turn_concurrency,
        )

    def _wire(self) -> None:
        runner, link = self.runner, self.link
        link.received = self.streams.received
        link.rejoined = self.streams.resync
        if runner is not None:
            self.inbox.runner = runner.ready
            self.inbox.leased = runner.begin
            link.stopped = self._stop_here
            link.woken = lambda session_id: runner.poke(session_id) if self._preferred(session_id) else None
        self.inbox.due = self._due
        self.inbox.full = lambda: self.pressure.full

    def _stop_here(self, session_id: UUID) -> None:
        if self.runner is not None:
            self.runner.stop_turn(session_id)

    def _due(self, session_id: UUID) -> None:
        """A session waits: run it here when it is ours, tell the others otherwise."""
        if self.runner is not None and (len(self._peers) < 2 or self._preferred(session_id)):
            self.runner.poke(session_id)
        else:
            self.link.wake(session_id)

    def _preferred(self, session_id: UUID) -> bool:
        """Rendezvous hashing over the workers that live: the highest weight has the session warm."""
        if len(self._peers) < 2:
            return True
        return max(self._peers, key=lambda peer: hash((peer.int, session_id.int))) == self.worker_id

    async def _register(self) -> None:
        self._liveness = Liveness(await self.pools.direct(), worker_id=self.worker_id, role=self.env.role)
        await self._liveness.register()
        await self._beat()

    async def _beating(self) -> None:
        sweeper = Sweeper(self.pools, self.runner, self.agents.warm, idle_seconds=self.env.release_idle_seconds)
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self.pressure.look()
            try:
                await self._beat()
                await sweeper.step()
            except (psycopg.Error, OSError) as error:
                log.warning("beat_failed", reason=type(error).__name__)
                await self._again()
            except Exception:
                # Whatever one job of the sweep stumbles over, this process must go on showing that it lives.
                log.exception("beat_failed_unexpectedly")

    async def _again(self) -> None:
        """After a lost connection: take the lock again before anything else."""
        try:
            async with asyncio.timeout(5.0):  # a half-dead connection of ours may hold the lock for a while
                self._liveness = Liveness(await self.pools.direct(), worker_id=self.worker_id, role=self.env.role)
                await self._liveness.register()
        except (psycopg.Error, OSError) as error:
            log.warning("database_away", reason=type(error).__name__)

    async def _beat(self) -> None:
        if self._liveness is None:
            return
        async with asyncio.timeout(5.0):
            dead, freed, orphaned = await self._liveness.beat()
            self._peers = await self._liveness.peers()
            self.streams.shared = await self._liveness.others()
        if dead:
            metrics.DEAD_WORKERS.inc(dead)
            log.warning("workers_died", workers=dead, sessions=freed, deliveries=orphaned)

    async def _watching_loop(self) -> None:
        """How late the event loop runs: work of over 5 ms does not belong on it."""
        while True:
            due = time.monotonic() + 0.25
            await asyncio.sleep(0.25)
            lag = time.monotonic() - due
            metrics.LOOP_LAG.set(lag)
            self._count()
            if lag > 0.5:
                log.warning("event_loop_late", seconds=round(lag, 3))

    def _count(self) -> None:
        """Set the gauges of what this process holds."""
        warm, agents = self.agents.warm, self.agents.agents
        metrics.WATCHES.set(self.streams.watching)
        metrics.WAITING.set(self.inbox.waiting)
        metrics.L1_SESSIONS.set(len(warm))
        metrics.L1_BYTES.set(warm.bytes)
        for result in ("hits", "misses", "stale", "evicted"):
            metrics.L1_LOOKUPS.labels(result).set(getattr(warm, result))
        metrics.AGENT_POOL.set(len(agents))
        states = Counter(self.agents.calls.breakers.states().values())
        for state in ("closed", "open", "half_open"):
            metrics.BREAKERS.labels(state).set(states[state])

    async def drain(self) -> None:
        """Take nothing more, let open turns and streams finish for at most HUB_DRAIN seconds."""
        if self.draining or not self.started:
            return
        self.draining = True
        self.streams.moving()
        leaving = [leave(self.env.drain) for leave in self.leaving]
        if self.runner is not None:
            leaving.append(self.runner.drain(self.env.drain))
        await asyncio.gather(*leaving)

    async def stop(self) -> None:
        """Drain, write what waits, close everything."""
        if not self.started:
            return
        await self.drain()
        await self.inbox.close()
        if self.runner is not None:
            await self.runner.close()
        await self.turns.close()
        await self.outbox.drain(10.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._liveness is not None:
            try:
                await self._liveness.leave()
            except psycopg.Error as error:
                log.info("left_without_a_word", reason=type(error).__name__)
        await self.link.stop()
        await self.memory.close()
        await self.stores.egress.close()
        await self.redis.aclose()
        await self.stores.subscriber.aclose()
        await self.pools.close()
        self.started = False


_runtime: Runtime | None = None


async def get_runtime() -> Runtime:
    """The process's runtime, started on first use."""
    global _runtime
    if _runtime is None:
        _runtime = Runtime(env())
    await _runtime.start()
    return _runtime


def current_runtime() -> Runtime | None:
    """The process's runtime if there is one already."""
    return _runtime
