"""`/new`: a person on an IM channel begins a new conversation at the same address.

The session that was current ends there; the next message opens the next generation. What is remembered of the person
stays, the recent lines do not come along.
"""

from typing import Any

import orjson

from hub.pipeline.bodies import pack_address
from hub.pipeline.run import Run
from tenants.crypto import CellRef, Vault
from tenants.ids import uuid7

COMMAND = "/new"

_END = "UPDATE session SET current = false WHERE id = %(old)s AND current"
_BEGIN = """
INSERT INTO session (id, tenant_id, connection_id, agent_id, contact_id, subject_id, address_hash, address, generation,
    current, owner, starred, archived, last_seq, version, fence, merge, merge_due, due_turns, delivery_seq, unsettled,
    counted_at, refused_at, last_inbound_at, created)
SELECT %(new)s, tenant_id, connection_id, agent_id, contact_id,
    CASE WHEN subject_id = id THEN %(new)s ELSE subject_id END, address_hash, %(address)s, generation + 1,
    true, owner, false, false, 0, 0, 0, merge, false, 0, 0, 0, counted_at, refused_at, last_inbound_at, now()
FROM session WHERE id = %(old)s
"""


def asks_anew(run: Run) -> bool:
    """Whether the turn's one message is the command; pages and programs have their own ways."""
    capabilities = run.connection.adapter.capabilities
    if capabilities.pull or capabilities.machine or len(run.bodies) != 1:
        return False
    word = run.bodies[0].text.strip().lower()
    return word == COMMAND or word.startswith(f"{COMMAND}@")


async def begin_anew(conn: Any, vault: Vault, run: Run) -> None:
    """End the run's session and begin the next generation, in the commit's transaction."""
    claimed, session_id = run.claimed, uuid7()
    cell = CellRef(claimed.tenant_id, "content", "session", "address", session_id)
    address = vault.seal(cell, orjson.dumps(pack_address(run.address)))
    await conn.execute(_END, {"old": claimed.session_id})
    await conn.execute(_BEGIN, {"old": claimed.session_id, "new": session_id, "address": address})
