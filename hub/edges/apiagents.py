"""Which agents an API key may call, and the `api` connection through which each is called."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hub.edges.guard import Refused
from hub.models import Connection
from hub.pipeline.changed import Change
from hub.pipeline.connections import LiveConnection, seal_credentials
from hub.pipeline.inbox import AWAY
from tenants.context import tenant_scope
from tenants.keys import KeyGrant
from tenants.remembered import Remembered

if TYPE_CHECKING:
    from hub.runtime import Runtime

CHANNEL: Final = "api"
LIFE_SECONDS: Final = 5.0
MOST: Final = 10_000
# An operator may make further ones, so no index can say that there is one: the agent's lock makes the first one once.
_ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended('api connection of ' || %s, 0))"
_AGENTS: Final = """
SELECT a.id, a.name, extract(epoch FROM a.created)::bigint, c.id
FROM agent a
LEFT JOIN LATERAL (SELECT id FROM connection WHERE channel = %s AND agent_id = a.id ORDER BY id LIMIT 1) c ON true
ORDER BY a.name LIMIT 1000
"""


@dataclass(frozen=True, slots=True)
class ApiAgent:
    """An agent as a model of the API; `created` in unix seconds."""

    id: UUID
    name: str
    created: int
    connection_id: UUID | None


_known: Final = Remembered[UUID, list[ApiAgent]](seconds=LIFE_SECONDS, most=MOST)
_making = asyncio.Lock()


async def agents(runtime: "Runtime", grant: KeyGrant) -> list[ApiAgent]:
    """The agents that the key may call, at most five seconds old. Raises Refused (503)."""
    if _forget not in runtime.forgetting:
        runtime.forgetting.append(_forget)
    known = await _known.get(grant.tenant_id, partial(_read, runtime, grant.tenant_id))
    return [agent for agent in known if grant.agent_id in (None, agent.id)]


async def connection(runtime: "Runtime", grant: KeyGrant, model: str) -> LiveConnection:
    """The connection through which the key calls the agent named `model`, made at its first use.

    Raises Refused: 404 for an agent that is not there for this key, 403 where an operator has switched it off.
    """
    found = next((agent for agent in await agents(runtime, grant) if agent.name == model), None)
    if found is None:
        raise Refused(404, "model_not_found", f"there is no model {model!r}", param="model")
    connection_id = found.connection_id or await _make(runtime, grant.tenant_id, found)
    try:
        live = await runtime.connections.by_id(grant.tenant_id, connection_id)
    except AWAY:
        raise _away() from None
    if live is not None and live.suspended:
        raise Refused(403, "tenant_suspended", "this tenant is suspended")
    if live is None or not live.active:
        raise Refused(403, "api_disabled", "calls by API are switched off for this agent")
    return live


def _forget(change: Change) -> None:
    if change.kind in ("agent", "connection"):
        _known.forget(change.tenant_id)


def _away() -> Refused:
    return Refused(503, "unavailable", "please try again shortly", wait=1.0)


async def _read(runtime: "Runtime", tenant_id: UUID) -> list[ApiAgent]:
    try:
        async with runtime.pools.app(tenant_id) as conn:
            rows: list[tuple[Any, ...]] = await (await conn.execute(_AGENTS, (CHANNEL,))).fetchall()
    except AWAY:
        raise _away() from None
    return [ApiAgent(*row) for row in rows]


async def _make(runtime: "Runtime", tenant_id: UUID, agent: ApiAgent) -> UUID:
    async with _making:
        made = await sync_to_async(_find_or_make, thread_sensitive=False)(runtime, tenant_id, agent)
    _known.forget(tenant_id)
    return made


def _find_or_make(runtime: "Runtime", tenant_id: UUID, agent: ApiAgent) -> UUID:
    """The agent's oldest `api` connection, made where there is none, however many processes ask at once."""
    with tenant_scope(tenant_id), transaction.atomic(), connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(_ONE_AT_A_TIME, (str(agent.id),))
        found: Connection | None = Connection.objects.filter(channel=CHANNEL, agent_id=agent.id).order_by("id").first()
        if found is None:
            found = Connection(tenant_id=tenant_id, channel=CHANNEL, name=f"API: {agent.name}"[:120], agent_id=agent.id)
            seal_credentials(runtime.vault, found, {})
            found.save(force_insert=True)
        return UUID(str(found.id))
