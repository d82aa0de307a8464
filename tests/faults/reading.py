"""Reads the hub's side of the ledgers from its database, as its superuser and with its keys."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import psutil

from hub.embedded.masterkey import existing_master_keys
from hub.pipeline.bodies import body_cell, unpack
from tenants.crypto import MasterKeys, Vault
from tenants.db.pools import Pools
from tests.faults.driver import Driver
from tests.faults.ledgers import Answer, Inbound, Ledgers, Place, Report, Sent, Shown, TurnEnd, check
from tests.faults.rig import Mark, Rig

_MESSAGES = """
SELECT id, session_id, seq, role, status, reason, turn_id, body FROM message
WHERE tenant_id = %s AND session_id = ANY (SELECT id FROM session WHERE connection_id = ANY (%s) AND id > %s)
ORDER BY session_id, seq
"""
_TURNS = """
SELECT id, session_id, kind, status, first_seq, last_seq, fence, attempts, error,
       coalesce(u.runs, 0), model
FROM turn t LEFT JOIN (
    SELECT turn_id, count(*) AS runs FROM usage WHERE kind IN ('reply', 'retry') GROUP BY turn_id
) u ON u.turn_id = t.id
WHERE tenant_id = %s AND session_id = ANY (SELECT id FROM session WHERE connection_id = ANY (%s) AND id > %s)
"""
_DELIVERIES = """
SELECT id, session_id, turn_id, position, part_index, status, attempts, live FROM delivery
WHERE tenant_id = %s AND connection_id = ANY (%s) AND session_id > %s ORDER BY session_id, position
"""
_PLACES = """
SELECT id, fence, last_seq, turn_id, lease_owner IS NOT NULL, due_turns, unsettled FROM session
WHERE tenant_id = %s AND connection_id = ANY (%s) AND id > %s
"""
_QUOTA = """
SELECT coalesce(sum(used) FILTER (WHERE metric = 'concurrency'), 0), coalesce(sum(reserved), 0)
FROM quota WHERE tenant_id = %s
"""
_OPEN = """
SELECT 'transaction open for ' || (now() - xact_start)::text FROM pg_stat_activity
WHERE state LIKE 'idle in transaction%%' AND xact_start < now() - interval '5 seconds' AND %s::text <> ''
"""


async def read(
    rig: Rig, drivers: Sequence[Driver] = (), *, names: Sequence[str] = ("hook",), since: Mark | None = None
) -> Ledgers:
    """Everything that is stored of these connections (`since`: of newer sessions only), beside what the drivers and
    the world noted.
    """
    mark = since or Mark()
    tenant = rig.planted.tenant
    ids = [UUID(rig.planted.connections[name]["id"]) for name in names]
    pools = Pools(rig.stack.layout.login_dsn)
    await pools.open()
    try:
        vault = Vault(MasterKeys(*await asyncio.to_thread(existing_master_keys, rig.stack.layout)), pools)
        await vault.load(tenant)
        found = await _stored(rig, vault, tenant, ids, mark.session)
    finally:
        await pools.close()
    found.acked = [(item.conversation, item.key) for driver in drivers for item in driver.acked]
    found.tried = {key for driver in drivers for key in driver.tried}
    found.ordered = not any(driver.scattered for driver in drivers)
    found.shown = [
        Shown(delivery=item.delivery, conversation=item.conversation, answers=item.answers, part=item.part)
        for item in rig.program.seen[mark.shown :]
    ]
    found.model_calls = rig.model.count - mark.calls
    return found


async def _stored(rig: Rig, vault: Vault, tenant: UUID, ids: list[UUID], after: UUID) -> Ledgers:
    inbox, answers, conversations = [], [], {}
    for ident, session, seq, role, status, reason, turn, sealed in await rig.rows(_MESSAGES, tenant, ids, after):
        body = unpack(vault.open(body_cell(tenant, ident), bytes(sealed)))
        if role == "assistant":
            answers.append(Answer(session=str(session), seq=seq, turn=str(turn), text=body.text))
            continue
        conversation = str((body.address or {}).get("conversation", ""))
        conversations[session] = conversation
        inbox.append(
            Inbound(
                session=str(session),
                conversation=conversation,
                seq=seq,
                key=body.external_id,
                status=status,
                reason=reason,
                turn=str(turn) if turn else None,
            )
        )
    turns = [
        TurnEnd(
            id=str(row[0]),
            session=str(row[1]),
            kind=row[2],
            status=row[3],
            first=row[4],
            last=row[5],
            fence=row[6],
            attempts=row[7],
            error=row[8],
            model_runs=row[9],
            model=row[10],
        )
        for row in await rig.rows(_TURNS, tenant, ids, after)
    ]
    deliveries = [
        Sent(
            id=row[0].hex,
            session=str(row[1]),
            turn=str(row[2]),
            position=row[3],
            part=row[4],
            status=row[5],
            attempts=row[6],
            live=row[7],
        )
        for row in await rig.rows(_DELIVERIES, tenant, ids, after)
    ]
    places = [
        Place(
            id=str(row[0]),
            conversation=conversations.get(row[0], ""),
            fence=row[1],
            last_seq=row[2],
            turn=str(row[3]) if row[3] else None,
            leased=row[4],
            due=row[5],
            unsettled=row[6],
        )
        for row in await rig.rows(_PLACES, tenant, ids, after)
    ]
    ((running, reserved),) = await rig.rows(_QUOTA, tenant)
    return Ledgers(
        inbox=inbox,
        answers=answers,
        turns=turns,
        deliveries=deliveries,
        places=places,
        running=int(running),
        reserved=int(reserved),
        leftovers=[*(row[0] for row in await rig.rows(_OPEN, "x")), *_children(rig)],
    )


def _children(rig: Rig) -> list[str]:
    """Processes that our nodes left behind."""
    return [
        f"{node.name} has a zombie"
        for node in rig.nodes
        if node.alive
        for child in psutil.Process(node.process.pid).children()
        if child.status() == psutil.STATUS_ZOMBIE
    ]


async def settle_and_check(rig: Rig, *, seconds: float = 60.0, whole: bool = False) -> Report:
    """Wait until the tenant rests, then compare the ledgers of what is newer than the last check, or of everything.

    Each fault's conversations are new, and identifiers grow with time: what an earlier check found right is not read
    again, so that a check costs what its own fault has said.
    """
    await rig.quiet(seconds=seconds)
    mark = Mark() if whole else rig.checked
    found = await read(rig, rig.drivers[mark.drivers :], since=mark)
    newest = max([UUID(place.id) for place in found.places], default=mark.session)
    rig.checked = Mark(session=newest, shown=len(rig.program.seen), calls=rig.model.count, drivers=len(rig.drivers))
    return check(found)
