"""One process's parts, made here and handed down by constructor, started once and stopped in order."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from uuid import UUID

import psycopg
import structlog

from agents.runtime import AgentRuntime
from hub.assembly import Assembly, make_stores
from hub.circuits import tell_circuits
from hub.egress import Keys
from hub.env import Env, env
from hub.gauges import watch_loop
from hub.heartbeat import Heartbeat, Peers
from hub.ledger.connections import Lease
from hub.pipeline import crash
from hub.pipeline.changed import Change
from hub.pipeline.chat import Chat
from hub.pipeline.connections import Connections
from hub.pipeline.inbox import Inbox
from hub.pipeline.inline import Inline
from hub.pipeline.outbox import Outbox
from hub.pipeline.pressure import Pressure
from hub.pipeline.remote import RedisLink
from hub.pipeline.runner import Runner
from hub.pipeline.streams import Streams
from hub.pipeline.sweep import Sweeper
from hub.pipeline.turns import Turns
from memory.memory import Memory
from tenants.db.roles import check_login
from tenants.ids import uuid7

log = structlog.get_logger(__name__)


class Runtime:
    """Everything of one process. `start` is idempotent; `drain` lets what is open finish; `stop` ends the rest."""

    agents: AgentRuntime
    memory: Memory
    connections: Connections
    inbox: Inbox
    streams: Streams
    chat: Chat
    outbox: Outbox
    inline: Inline
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
        self.forgetting: list[Callable[[Change], None]] = []
        """What the doors do when something was changed that they remember."""
        self._starting: asyncio.Lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._peers = Peers(self.worker_id)
        self._heartbeat: Heartbeat | None = None

    async def start(self) -> None:
        """Open connections, check the login, begin to work. Raises LoginRefused, psycopg errors."""
        async with self._starting:
            if self.started:
                return
            crash.arm(self.env.crash_at)
            await self._open()
            self._build()
            await self.link.start()
            self._heartbeat = Heartbeat(self.pools, peers=self._peers, role=self.env.role, streams=self.streams)
            await self._heartbeat.register()
            if self.runner is not None:
                self.runner.start()
            sweeper = Sweeper(self.pools, self.runner, self.agents.warm, idle_seconds=self.env.release_idle_seconds)
            loop = asyncio.get_running_loop()
            self._tasks = [
                loop.create_task(self._heartbeat.beating(self.pressure, sweeper)),
                loop.create_task(watch_loop(agents=self.agents, inbox=self.inbox, streams=self.streams)),
                loop.create_task(tell_circuits(self.redis, self.worker_id, self.agents.calls.breakers.states)),
            ]
            _settle_garbage()
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
        parts = Assembly(self.env, self.stores, worker_id=self.worker_id, lease=self.lease).parts()
        self.keys, self.memory, self.agents = parts.keys, parts.memory, parts.agents
        self.connections, self.streams, self.chat = parts.connections, parts.streams, parts.chat
        self.inbox, self.outbox, self.turns = parts.inbox, parts.outbox, parts.turns
        self.inline = parts.inline
        self.runner, self.pressure = parts.runner, parts.pressure
        self._wire()

    def _wire(self) -> None:
        runner, link = self.runner, self.link
        self.chat.link = link
        self.streams.link = link
        link.received = self.streams.received
        link.rejoined = self.streams.resync
        link.changed = self._forget
        self.connections.paused = lambda tenant_id, ident: link.tell_changed(Change("connection", tenant_id, ident))
        if runner is not None:
            self.inbox.runner = runner.ready
            self.inbox.leased = runner.begin
            runner.offers(self._due)
            link.stopped = self._stop_here
            link.woken = lambda session_id: runner.poke(session_id) if self._peers.prefer_us(session_id) else None
        self.inbox.due = self._due
        self.inbox.full = lambda: self.pressure.full

    def _forget(self, change: Change) -> None:
        """Something was changed, here or elsewhere: what is remembered of it counts no more."""
        if change.kind == "connection":
            self.connections.forget(change.id)
        elif change.kind == "tenant":
            self.connections.forget_tenant(change.tenant_id)
            self.agents.specs.invalidate_tenant(change.tenant_id)
        elif change.kind == "agent":
            self.agents.specs.invalidate(change.tenant_id, change.id)
        for forget in self.forgetting:
            forget(change)

    def _stop_here(self, session_id: UUID) -> None:
        if self.runner is not None:
            self.runner.stop_turn(session_id)

    def _due(self, session_id: UUID) -> None:
        """A session waits: run it here when it is ours, tell the others otherwise."""
        if self.runner is not None and self._peers.prefer_us(session_id):
            self.runner.poke(session_id)
        else:
            self.link.wake(session_id)

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
        if self._heartbeat is not None:
            await self._heartbeat.leave()
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


def _settle_garbage() -> None:
    """What the start has made stays for good: the collector need not walk half a million objects again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
