"""The SQL of agents and nothing else: specs read, checkpoints written in sets, the ledger of tool calls."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from psycopg import AsyncConnection

from agents.errors import AgentUnknown
from agents.states import pack_checkpoint, unpack_checkpoint
from agents.tools.ledger import Claim, Prior
from agents.types import AgentSpec, ChatMessage, ModelRoute, SessionState
from memory.types import Key, Policy
from tenants.crypto import CellRef, Vault
from tenants.db import literals
from tenants.db.pools import Pools
from tenants.ids import uuid7

Connection = AsyncConnection[Any]

_SPEC = """
SELECT a.name, a.version, a.prompt, a.routes, a.credentials, a.policy, a.workflow, a.tools, a.context_tokens,
       a.language, a.blocked_terms, t.vectors
FROM agent a JOIN tenant t ON t.id = a.tenant_id WHERE a.tenant_id = %s AND a.id = %s"""

_CHECKPOINT = "SELECT state FROM checkpoint WHERE tenant_id = %s AND id = %s"

# A late writer is refused by the session's fence before this; the version guard only keeps a replay harmless.
_SAVE = """
INSERT INTO checkpoint (id, tenant_id, session_id, version, state)
SELECT id, tenant_id, id, version, state FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::bytea[])
    AS w (id, tenant_id, version, state)
ON CONFLICT (id) DO UPDATE SET version = excluded.version, state = excluded.state
WHERE checkpoint.version <= excluded.version"""

_BEGIN = """
INSERT INTO tool_call (id, tenant_id, turn_id, name, effect, fingerprint, ordinal, arguments, created)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, now()) ON CONFLICT (tenant_id, turn_id, fingerprint, ordinal) DO NOTHING
RETURNING id"""
_KNOWN = """
SELECT id, result FROM tool_call WHERE tenant_id = %s AND turn_id = %s AND fingerprint = %s AND ordinal = %s"""
_FINISH = "UPDATE tool_call SET result = %s, finished = now() WHERE tenant_id = %s AND id = %s"


async def read_spec(conn: Connection, vault: Vault, tenant_id: UUID, agent_id: UUID) -> AgentSpec:
    """The agent as it is now; raises `AgentUnknown`. The tenant's keys must be loaded."""
    row = await (await conn.execute(_SPEC, (tenant_id, agent_id))).fetchone()
    if row is None:
        raise AgentUnknown(f"agent {agent_id} of tenant {tenant_id}")
    name, version, prompt, routes, sealed, policy, workflow, tools, context_tokens, language, blocked, vectors = row
    known = {name: value for name, value in policy.items() if name in _POLICY_FIELDS}
    keys: list[str] = []
    if sealed is not None:
        cell = CellRef(tenant_id, "credentials", "agent", "credentials", agent_id)
        keys = orjson.loads(vault.open(cell, bytes(sealed)))
    return AgentSpec(
        id=agent_id,
        tenant_id=tenant_id,
        name=name,
        version=version,
        prompt=prompt,
        routes=tuple(_route(route, keys[n] if n < len(keys) else "") for n, route in enumerate(routes)),
        policy=Policy(**{**known, "vectors": vectors and known.get("vectors", True)}),
        workflow=workflow,
        tools=tuple(tools),
        context_tokens=context_tokens,
        language=language,
        blocked_terms=tuple(blocked),
    )


def _route(row: Mapping[str, Any], key: str) -> ModelRoute:
    known = {name: value for name, value in row.items() if name in _ROUTE_FIELDS and value is not None}
    return ModelRoute(**known, api_key=key)


_POLICY_FIELDS = frozenset(Policy.__dataclass_fields__)
_ROUTE_FIELDS = frozenset(ModelRoute.__dataclass_fields__) - {"api_key"}


async def read_checkpoint(pools: Pools, vault: Vault, key: Key) -> tuple[int, Sequence[ChatMessage]]:
    """The last seq that memory must hold and the pending client tools; zero and none for a session without turns."""
    [rows] = await pools.look(key.tenant_id, (_CHECKPOINT, (key.tenant_id, key.session_id)))
    return unpack_checkpoint(vault.open(_state_cell(key), bytes(rows[0][0]))) if rows else (0, ())


async def save_checkpoints(conn: Connection, vault: Vault, states: Sequence[tuple[Key, SessionState]]) -> None:
    """Write the sessions' checkpoints in one statement, in the order of their ids (so that batches cannot deadlock)."""
    latest = {key.session_id: (key, state) for key, state in states}
    rows = [
        (session_id, key.tenant_id, state.version, vault.seal(_state_cell(key), pack_checkpoint(state)))
        for session_id, (key, state) in sorted(latest.items())
    ]
    if rows:
        ids, tenants, versions, blobs = zip(*rows, strict=True)
        sent = (literals.uuids(ids), literals.uuids(tenants), literals.integers(versions), literals.blobs(blobs))
        await conn.execute(_SAVE, sent)


def _state_cell(key: Key) -> CellRef:
    return CellRef(key.tenant_id, "content", "checkpoint", "state", key.session_id)


class PostgresLedger:
    """The ledger in table `tool_call`; each step is its own short transaction of the tenant."""

    def __init__(self, pools: Pools, vault: Vault) -> None:
        self._pools = pools
        self._vault = vault

    async def begin(self, claim: Claim) -> Prior:
        """See `Ledger.begin`. When two runners try at once, one of them gets `open`."""
        await self._vault.load(claim.tenant_id)
        row_id, print_ = uuid7(), self._vault.blind(claim.tenant_id, claim.fingerprint)
        sealed = self._vault.seal(self._cell(claim, "arguments", row_id), claim.arguments.encode("utf-8", "replace"))
        known = (claim.tenant_id, claim.turn_id, print_, claim.ordinal)
        values = (row_id, claim.tenant_id, claim.turn_id, claim.name, claim.effect, print_, claim.ordinal, sealed)
        async with self._pools.app(claim.tenant_id) as conn:
            if await (await conn.execute(_BEGIN, values)).fetchone() is not None:
                return Prior("new", row_id)
            row = await (await conn.execute(_KNOWN, known)).fetchone()
        if row is None:
            raise RuntimeError("a tool call's intent was neither written nor found")
        if row[1] is None:
            return Prior("open", row[0])
        return Prior("done", row[0], self._vault.open(self._cell(claim, "result", row[0]), bytes(row[1])).decode())

    async def finish(self, claim: Claim, prior: Prior, result: str) -> None:
        """See `Ledger.finish`."""
        await self._vault.load(claim.tenant_id)
        sealed = self._vault.seal(self._cell(claim, "result", prior.row_id), result.encode("utf-8", "replace"))
        async with self._pools.app(claim.tenant_id) as conn:
            await conn.execute(_FINISH, (sealed, claim.tenant_id, prior.row_id))

    def _cell(self, claim: Claim, column: str, row_id: UUID) -> CellRef:
        return CellRef(claim.tenant_id, "content", "tool_call", column, row_id)
