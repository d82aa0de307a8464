"""Make the parts of one process; each is handed what it needs by constructor, nothing is opened here."""

from dataclasses import dataclass, replace
from uuid import UUID

import aiohttp
from redis.asyncio import Redis

from agents.pool import WarmStates
from agents.runtime import AgentRuntime, make_runtime
from hub.configured import default_route, embedding_endpoint
from hub.egress import Egress, GuardedHttp, Keys
from hub.env import Env
from hub.ledger.accept import Acceptor
from hub.ledger.claim import Claimer
from hub.ledger.connections import Lease, RoleConnection
from hub.ledger.leases import Leases
from hub.ledger.settle import Settler
from hub.pipeline.chat import Chat
from hub.pipeline.connections import Connections
from hub.pipeline.inbox import Inbox
from hub.pipeline.inline import Inline
from hub.pipeline.messages import History
from hub.pipeline.outbox import Outbox
from hub.pipeline.places import Places
from hub.pipeline.pressure import Pressure
from hub.pipeline.rows import Recent
from hub.pipeline.runner import Runner
from hub.pipeline.streams import Streams
from hub.pipeline.sweep import send_summary_soon
from hub.pipeline.turns import Turns
from memory.embeddings.choice import choose
from memory.memory import Memory
from tenants import redis as redis_connections
from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import LIMITS, Pools

_RUNS_TURNS = ("all", "runner")
_LONGEST_COMMIT = 5.0
"""Seconds after which a turn's transaction is ended by the server, or after its lease where that is shorter: a process
that sleeps in the middle of a commit must not keep its tenant's rows from those who take its turns over."""


@dataclass(slots=True)
class Stores:
    """Where a process keeps and fetches things."""

    pools: Pools
    vault: Vault
    redis: Redis
    subscriber: Redis
    egress: Egress


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What works in a process, over its stores."""

    keys: Keys
    memory: Memory
    agents: AgentRuntime
    connections: Connections
    streams: Streams
    inbox: Inbox
    outbox: Outbox
    inline: Inline
    pressure: Pressure
    turns: Turns
    runner: Runner | None
    """Only where turns run."""
    chat: Chat


def make_stores(settings: Env) -> Stores:
    """Connections of one process; nothing is opened yet."""
    longest = int(min(settings.lease_seconds, _LONGEST_COMMIT) * 1000)
    pools = Pools(
        settings.login_dsn,
        prefix=settings.db_role_prefix,
        pooler="transaction" if settings.database_pooler == "transaction" else "",
        direct_dsn=settings.direct_dsn,
        limits={"app": replace(LIMITS["app"], transaction_ms=longest)},
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


class Assembly:
    """Makes the parts of the process `worker_id`, once its stores are open."""

    def __init__(self, settings: Env, stores: Stores, *, worker_id: UUID, lease: Lease) -> None:
        self._settings, self._stores, self._worker_id, self._lease = settings, stores, worker_id, lease
        self._pools, self._vault = stores.pools, stores.vault
        self._queue = RoleConnection(self._pools, "queue")
        self._recent, self._places = Recent(), Places()

    def parts(self) -> Parts:
        """All parts, each knowing those it calls; what goes back up is wired by the runtime."""
        guarded = GuardedHttp(self._stores.egress)
        keys = Keys(guarded)
        settler = Settler(self._queue, self._lease, self._worker_id)
        history = History(self._pools, self._vault)
        memory = make_memory(self._settings, self._stores, self._stores.egress.session)
        agents = self._agents(memory)
        connections = Connections(pools=self._pools, vault=self._vault, http=guarded, keys=keys)
        streams = Streams(history.chunks, saved=history.saved, seen=history.seen)
        inbox = self._inbox(settler)
        outbox = self._outbox(connections, settler)
        turns = self._turns(connections=connections, agents=agents, streams=streams, outbox=outbox)
        runner = self._runner(turns, outbox) if self._settings.role in _RUNS_TURNS else None
        return Parts(
            keys=keys,
            memory=memory,
            agents=agents,
            connections=connections,
            streams=streams,
            inbox=inbox,
            outbox=outbox,
            inline=Inline(settler, outbox),
            pressure=Pressure(agents.warm, limit=float(self._settings.memory_limit_percent)),
            turns=turns,
            runner=runner,
            chat=Chat(
                inbox=inbox,
                streams=streams,
                pools=self._pools,
                vault=self._vault,
                history=history,
                memory=memory,
                runner=runner,
            ),
        )

    def _agents(self, memory: Memory) -> AgentRuntime:
        return make_runtime(
            wire=self._stores.egress.models,
            pools=self._pools,
            vault=self._vault,
            memory=memory,
            default_route=default_route(self._settings),
            warm=WarmStates(most=self._settings.l1_sessions),
        )

    def _inbox(self, settler: Settler) -> Inbox:
        return Inbox(
            acceptor=Acceptor(RoleConnection(self._pools, "ingest"), self._lease),
            settler=settler,
            vault=self._vault,
            recent=self._recent,
            places=self._places,
            # Where turns run too, two writers would only wait for each other's quota rows.
            lanes=2 if self._settings.role == "gateway" else 1,
        )

    def _outbox(self, connections: Connections, settler: Settler) -> Outbox:
        return Outbox(
            pools=self._pools,
            vault=self._vault,
            connections=connections,
            settler=settler,
            lease=self._lease,
            worker_id=self._worker_id,
            fixed_retries=self._settings.retry_policy == "fixed",
        )

    def _turns(self, *, connections: Connections, agents: AgentRuntime, streams: Streams, outbox: Outbox) -> Turns:
        turns = Turns(
            pools=self._pools,
            vault=self._vault,
            connections=connections,
            agents=agents,
            streams=streams,
            outbox=outbox,
            recent=self._recent,
            places=self._places,
            worker_id=self._worker_id,
        )
        turns.ending.summarise = send_summary_soon
        return turns

    def _runner(self, turns: Turns, outbox: Outbox) -> Runner:
        return Runner(
            turns=turns,
            claimer=Claimer(self._queue, self._lease, self._worker_id),
            leases=Leases(self._queue, self._lease, self._worker_id),
            outbox=outbox,
            lease=self._lease,
            worker_id=self._worker_id,
            capacity=self._settings.turn_concurrency,
        )
