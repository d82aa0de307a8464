"""What a Celery worker needs to execute memory's batches: pools, vault, embedder, and the agent's own model."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from agents import store
from agents.calls import OFFLINE_ROUTE, ModelCalls
from agents.errors import AgentUnknown, NoRouteAnswered
from agents.providers import providers
from agents.providers.base import ChatRequest, Grounds
from agents.types import AgentSpec, ChatMessage, ModelRoute, Progress, Usage
from hub.configured import default_route, embedding_endpoint
from hub.egress import Egress
from hub.env import Env
from memory.embeddings.choice import choose
from memory.redis_cache import Cache
from memory.summarise import Digester, SummaryFailed
from memory.types import Batch, Line, Policy
from tenants import usage as ledger
from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import PoolLimits, Pools
from tenants.redis import connect

PROMPT = (
    "Write a summary of the conversation below for your own later use. Keep every fact about the people: names, dates, "
    "numbers, places, plans, wishes and decisions, with who said them. Leave out greetings. Write in the language of "
    "the conversation, without preamble."
)
SHARE = {"brief": 150, "normal": 400, "detailed": 900}
"""The most tokens of a summary, by the granularity that the batch froze."""
_AGENT = """
SELECT coalesce(s.agent_id, c.agent_id) FROM session s JOIN connection c ON c.id = s.connection_id WHERE s.id = %s
"""
# A task process works on one batch at a time.
_LIMITS = {role: PoolLimits(size=2, statement_ms=10_000, lock_ms=2_000) for role in ("app", "queue", "ops", "ingest")}


def pools_of(env: Env) -> Pools:
    """Small pools for a process that does one thing at a time; not opened yet."""
    pooler = "transaction" if env.database_pooler == "transaction" else ""
    return Pools(env.login_dsn, prefix=env.db_role_prefix, pooler=pooler, direct_dsn=env.direct_dsn, limits=_LIMITS)


async def make_digester(env: Env) -> Digester:
    """The digester of one worker process, opened on the loop that calls it and kept as long as the process."""
    pools, egress = pools_of(env), Egress(allow=env.egress_allow)
    await pools.open()
    await egress.open()
    vault = Vault(MasterKeys(*env.master_keys()), pools)
    return Digester(
        pools=pools,
        vault=vault,
        embedder=choose(cache=env.layout.root / "models", endpoint=embedding_endpoint(env), session=egress.session),
        cache=Cache(connect(env.redis, size=4), vault),
        summariser=AgentSummariser(
            pools=pools, vault=vault, calls=ModelCalls(providers(egress.models)), default=default_route(env)
        ),
    )


class AgentSummariser:
    """Asks the model of the agent that holds the conversation; agents without a model leave it to rules."""

    def __init__(self, *, pools: Pools, vault: Vault, calls: ModelCalls, default: ModelRoute | None) -> None:
        self._pools = pools
        self._vault = vault
        self._calls = calls
        self._default = default

    async def __call__(self, batch: Batch, lines: Sequence[Line]) -> str | None:
        """The summary, or None without a model. Raises SummaryFailed when no route answered."""
        spec = await self._spec(batch)
        routes = tuple(spec.routes) or ((self._default,) if self._default else ()) if spec else ()
        if spec is None or all(route.provider == OFFLINE_ROUTE.provider for route in routes):
            return None
        used: list[Usage] = []
        try:
            answered = await self._calls.chat(routes, _request(batch, lines), _unwatched, used)
        except NoRouteAnswered as error:
            raise SummaryFailed("no model answered") from error
        finally:
            await self._book(batch, spec, used)
        return answered.completion.text or None

    async def _spec(self, batch: Batch) -> AgentSpec | None:
        tenant_id = batch.key.tenant_id
        await self._vault.load(tenant_id)
        async with self._pools.app(tenant_id) as conn:
            row: Any = await (await conn.execute(_AGENT, (batch.key.session_id,))).fetchone()
            if row is None:
                return None
            try:
                return await store.read_spec(conn, self._vault, tenant_id, row[0])
            except AgentUnknown:  # deleted since: rules summarise what it heard
                return None

    async def _book(self, batch: Batch, spec: AgentSpec, used: Sequence[Usage]) -> None:
        """Summaries cost the tenant tokens like turns do."""
        if not used:
            return
        spent = [_spent(batch.key.tenant_id, batch.key.session_id, spec.id, one) for one in used]
        async with self._pools.app(batch.key.tenant_id) as conn:
            await ledger.settle(conn, spent)


def _request(batch: Batch, lines: Sequence[Line]) -> ChatRequest:
    policy: Policy = batch.policy
    said = "\n".join(f"{line.speaker or line.role}: {line.text}" for line in lines)
    return ChatRequest(
        messages=[
            ChatMessage(role="system", text=policy.prompt or PROMPT),
            ChatMessage(role="user", text=said),
        ],
        grounds=Grounds(query="", language="", lines=lines),
        max_tokens=SHARE[policy.granularity],
        temperature=0.2,
    )


def _unwatched(_: Progress) -> None:
    """Nobody watches a summary being written."""


def _spent(tenant_id: UUID, session_id: UUID, agent_id: UUID, one: Usage) -> ledger.Spent:
    return ledger.Spent(
        tenant_id=tenant_id,
        kind="summary",
        provider=one.provider,
        model=one.model,
        input_tokens=one.input_tokens,
        output_tokens=one.output_tokens,
        cached_tokens=one.cached_tokens,
        cost=Decimal(str(one.cost)),
        estimated=one.estimated,
        session_id=session_id,
        agent_id=agent_id,
    )
