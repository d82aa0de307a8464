"""Accept: one statement and one commit make messages durable, deduplicated, admitted, ordered and due.

Locks are taken in the order quota, keys, session. Absence from the result means duplicate. Where a runner shares the
process, an idle session's turn is leased by the same statement (`runner` set), which saves the claim.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from hub.ledger.connections import Ahead, Lease, RoleConnection
from tenants.db import literals
from tenants.db.pools import broke

AWAY_SECONDS = 2.5
"""How long rows are kept for a database that has gone away: shorter than a platform waits for its answer."""
RESERVED_TOKENS = 4000
"""Set aside in a limited tenant's daily budget per running turn; the commit settles what was really used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """One inbound message, translated, cleaned and sealed. Ids are minted by the caller."""

    message_id: UUID
    tenant_id: UUID
    connection_id: UUID
    key_hash: bytes
    session_id: UUID
    """Used when the address has no session yet."""
    address_hash: bytes
    address: bytes
    agent_id: UUID
    contact_id: UUID | None
    contact_external: bytes | None
    """None when the contact is known to exist."""
    contact_name: bytes | None
    subject_id: UUID
    body: bytes
    role: str = "user"
    tokens: int = 0
    answer: bool = True
    """False: stored and noted, no turn."""
    merge: bool = True
    debounce_ms: int = 0
    turn_id: UUID
    ephemeral: bool = False
    """A stateless call: its session does not count towards the quota."""
    refusal: str = ""
    """Why it is refused before any quota is asked (`suspended`); the person is told once a day."""
    runner: UUID | None = None
    """The worker that would run an idle session's turn at once."""
    known: bool = False
    """Its session was seen here lately, so that it most likely counts towards the quota already."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a new message. `turn_id` is set when the turn was leased to the asking runner."""

    message_id: UUID
    session_id: UUID
    seq: int
    status: str
    reason: str
    turn_id: UUID | None
    fence: int
    version: int
    subject_id: UUID
    agent_id: UUID
    unsettled: int
    due: bool
    newcomer: bool
    """Whether the subject is a contact that nobody had met before, so that nothing can be remembered of it."""


# Who waited for the quota's row may find the last place taken by the very session it means to write to, made meanwhile
# and unseen by its snapshot. The division by zero at the end takes that statement back; the next one sees the session.
_SQL = """
WITH input AS (
    SELECT * FROM unnest(
        %(message_id)s::uuid[], %(tenant_id)s::uuid[], %(connection_id)s::uuid[], %(key_hash)s::bytea[],
        %(session_id)s::uuid[], %(address_hash)s::bytea[], %(address)s::bytea[], %(agent_id)s::uuid[],
        %(contact_id)s::uuid[], %(contact_external)s::bytea[], %(contact_name)s::bytea[], %(subject_id)s::uuid[],
        %(body)s::bytea[], %(role)s::text[], %(tokens)s::int[], %(answer)s::bool[], %(merge)s::bool[],
        %(debounce_ms)s::int[], %(turn_id)s::uuid[], %(runner)s::uuid[], %(ephemeral)s::bool[],
        %(refusal)s::text[]
    ) WITH ORDINALITY AS t(
        message_id, tenant_id, connection_id, key_hash, session_id, address_hash, address, agent_id, contact_id,
        contact_external, contact_name, subject_id, body, role, tokens, answer, merge, debounce_ms, turn_id, runner,
        ephemeral, shut, ord)
), keys AS (
    INSERT INTO message_key (connection_id, key_hash, tenant_id, message_id, created)
    SELECT connection_id, key_hash, tenant_id, message_id, now() FROM input ORDER BY connection_id, key_hash, ord
    ON CONFLICT DO NOTHING RETURNING message_id
), contacts AS (
    INSERT INTO contact (id, tenant_id, connection_id, external, name, blocked, created)
    SELECT DISTINCT ON (contact_id) contact_id, tenant_id, connection_id, contact_external, contact_name, false, now()
    FROM input WHERE contact_external IS NOT NULL ORDER BY contact_id
    ON CONFLICT DO NOTHING RETURNING id
), fresh AS (
    SELECT i.*, coalesce(c.blocked, false) AS blocked
    FROM input i JOIN keys USING (message_id) LEFT JOIN contact c ON c.id = i.contact_id
), places AS (
    SELECT f.tenant_id, f.connection_id, f.address_hash,
           f.ephemeral OR coalesce(s.counted_at > now() - interval '30 days', false) AS counted
    FROM (SELECT DISTINCT tenant_id, connection_id, address_hash, ephemeral FROM fresh WHERE NOT blocked) f
    LEFT JOIN session s ON s.connection_id = f.connection_id AND s.address_hash = f.address_hash AND s.current
), newcomers AS (
    SELECT *, row_number() OVER (PARTITION BY tenant_id ORDER BY connection_id, address_hash) AS nth
    FROM places WHERE NOT counted
), needed AS (
    SELECT tenant_id, 'sessions' AS metric FROM newcomers
    UNION SELECT tenant_id, unnest(ARRAY['concurrency', 'tokens_per_day']) FROM fresh WHERE runner IS NOT NULL
), caps AS MATERIALIZED (
    SELECT q.tenant_id, q.metric, coalesce(q.override, q.limit_value) AS limit_value, q.used, q.reserved
    FROM quota q JOIN needed n ON n.tenant_id = q.tenant_id AND n.metric = q.metric
    ORDER BY q.tenant_id, q.metric FOR UPDATE OF q
), spent AS (
    SELECT tenant_id FROM quota
    WHERE metric = 'tokens_per_day' AND tenant_id = ANY (SELECT tenant_id FROM fresh)
      AND coalesce(override, limit_value) >= 0
      AND used + reserved >= coalesce(override, limit_value) AND now() < period_start + interval '1 day'
), verdicts AS (
    SELECT p.connection_id, p.address_hash, n.nth IS NOT NULL AS newcomer,
           CASE WHEN c.limit_value >= 0 AND c.used + n.nth > c.limit_value THEN 'sessions'
                WHEN b.tenant_id IS NOT NULL THEN 'tokens_per_day' ELSE '' END AS refusal
    FROM places p
    LEFT JOIN newcomers n USING (connection_id, address_hash)
    LEFT JOIN caps c ON c.tenant_id = p.tenant_id AND c.metric = 'sessions' AND n.nth IS NOT NULL
    LEFT JOIN spent b ON b.tenant_id = p.tenant_id
), judged AS (
    SELECT f.*, CASE WHEN f.blocked THEN 'blocked'
                     WHEN f.shut <> '' THEN f.shut
                     WHEN v.refusal = 'tokens_per_day' AND NOT f.answer THEN ''
                     ELSE coalesce(v.refusal, '') END AS refusal,
           coalesce(v.newcomer, false) AS newcomer
    FROM fresh f LEFT JOIN verdicts v USING (connection_id, address_hash)
), ranked AS (
    SELECT j.*, j.answer AND j.refusal = '' AS wanted,
           row_number() OVER (PARTITION BY connection_id, address_hash ORDER BY ord) AS nth,
           count(*) OVER place AS n,
           count(*) FILTER (WHERE j.answer AND j.refusal = '') OVER place AS wants,
           bool_or(j.refusal IN ({polite})) OVER place AS notice
    FROM judged j WINDOW place AS (PARTITION BY connection_id, address_hash)
), heads AS (
    SELECT r.*, r.runner IS NOT NULL AND r.debounce_ms = 0 AND r.wants = r.n AND (r.merge OR r.n = 1) AS keen
    FROM ranked r WHERE nth = 1
), grouped AS (
    SELECT h.*, h.keen AND (c.limit_value < 0 OR c.used
               + row_number() OVER (PARTITION BY h.tenant_id, h.keen ORDER BY h.ord) <= c.limit_value) AS fuse
    FROM heads h LEFT JOIN caps c ON c.tenant_id = h.tenant_id AND c.metric = 'concurrency'
), held AS (
    INSERT INTO session AS s (
        id, tenant_id, connection_id, agent_id, contact_id, subject_id, address_hash, address, generation, current,
        owner, starred, archived, last_seq, version, fence, lease_owner, lease_until, turn_id, merge, merge_due,
        due_turns, due_at, next_due_at, due_since, delivery_seq, unsettled, counted_at, refused_at, last_inbound_at,
        created)
    SELECT g.session_id, g.tenant_id, g.connection_id, NULL, g.contact_id, g.subject_id, g.address_hash, g.address,
           1, true, 'agent', false, false, g.n, 0, g.fuse::int, CASE WHEN g.fuse THEN g.runner END,
           CASE WHEN g.fuse THEN now() + %(lease)s END, CASE WHEN g.fuse THEN g.turn_id END, g.merge,
           g.merge AND g.wants > 0 AND NOT g.fuse,
           CASE WHEN g.fuse THEN 0 WHEN g.merge THEN least(g.wants, 1) ELSE g.wants END + g.notice::int,
           CASE WHEN g.fuse THEN now() + %(lease)s
                WHEN g.wants > 0 OR g.notice THEN now() + g.debounce_ms * interval '1 millisecond' END,
           CASE WHEN g.wants > 0 OR g.notice THEN now() + g.debounce_ms * interval '1 millisecond' END,
           CASE WHEN g.wants > 0 AND NOT g.fuse THEN now() END, 0, 0,
           CASE WHEN g.refusal = '' THEN now() END, CASE WHEN g.notice THEN now() END, now(), now()
    FROM grouped g ORDER BY g.connection_id, g.address_hash
    ON CONFLICT (connection_id, address_hash) WHERE current DO UPDATE SET
        last_seq = s.last_seq + EXCLUDED.last_seq,
        last_inbound_at = now(),
        merge = EXCLUDED.merge,
        counted_at = coalesce(EXCLUDED.counted_at, s.counted_at),
        refused_at = CASE WHEN EXCLUDED.refused_at IS NOT NULL
                           AND coalesce(s.refused_at < now() - interval '1 day', true)
                     THEN now() ELSE s.refused_at END,
        fence = s.fence + (EXCLUDED.turn_id IS NOT NULL AND {idle})::int,
        lease_owner = CASE WHEN EXCLUDED.turn_id IS NOT NULL AND {idle}
                      THEN EXCLUDED.lease_owner ELSE s.lease_owner END,
        lease_until = CASE WHEN EXCLUDED.turn_id IS NOT NULL AND {idle}
                      THEN EXCLUDED.lease_until ELSE s.lease_until END,
        turn_id = CASE WHEN EXCLUDED.turn_id IS NOT NULL AND {idle} THEN EXCLUDED.turn_id ELSE s.turn_id END,
        merge_due = s.merge_due OR ({waits} AND EXCLUDED.merge),
        due_turns = s.due_turns
            + CASE WHEN NOT ({waits}) THEN 0
                   WHEN EXCLUDED.merge THEN (NOT s.merge_due)::int
                   ELSE {wanted} END
            + {notice}::int,
        due_at = CASE WHEN EXCLUDED.turn_id IS NOT NULL AND {idle} THEN EXCLUDED.due_at
                      WHEN s.turn_id IS NOT NULL OR NOT ({waits} OR {notice}) THEN s.due_at
                      ELSE least(EXCLUDED.next_due_at,
                                 coalesce(s.due_since, now()) + (EXCLUDED.next_due_at - now()) * 4) END,
        next_due_at = CASE WHEN {waits} OR {notice} THEN EXCLUDED.next_due_at ELSE s.next_due_at END,
        due_since = CASE WHEN {waits} THEN coalesce(s.due_since, now()) ELSE s.due_since END
    RETURNING s.id, s.tenant_id, s.connection_id, s.address_hash, s.last_seq, s.owner, s.fence, s.version, s.turn_id,
              s.due_turns, s.subject_id, s.agent_id, s.unsettled,
              coalesce(old.merge_due, false) AS was_merge_due,
              coalesce(old.counted_at > now() - interval '30 days', false) AS was_counted,
              new.refused_at IS DISTINCT FROM old.refused_at AS notify
), placed AS (
    SELECT r.*, h.id AS held_id, h.last_seq - r.n + r.nth AS seq, h.owner, h.fence, h.version,
           h.turn_id IS NOT DISTINCT FROM g.turn_id AS fused, g.turn_id AS lead_turn, h.was_merge_due,
           h.was_counted, h.notify, h.due_turns, h.subject_id AS held_subject,
           coalesce(h.agent_id, r.agent_id) AS held_agent, h.unsettled
    FROM ranked r JOIN grouped g USING (connection_id, address_hash) JOIN held h USING (connection_id, address_hash)
), counted AS (
    UPDATE quota q SET used = q.used + x.used, reserved = q.reserved + x.reserved
    FROM (
        SELECT tenant_id, 'sessions' AS metric, count(*) AS used, 0 AS reserved
        FROM placed WHERE newcomer AND NOT was_counted AND refusal = '' AND nth = 1 GROUP BY tenant_id
        UNION ALL
        SELECT tenant_id, 'concurrency', count(*), 0 FROM placed WHERE fused AND nth = 1 GROUP BY tenant_id
        UNION ALL
        SELECT p.tenant_id, 'tokens_per_day', 0, count(*) * %(reserve)s
        FROM placed p JOIN caps c ON c.tenant_id = p.tenant_id AND c.metric = 'tokens_per_day' AND c.limit_value >= 0
        WHERE p.fused AND p.nth = 1 GROUP BY p.tenant_id
    ) x WHERE q.tenant_id = x.tenant_id AND q.metric = x.metric
), stored AS (
    INSERT INTO message (id, tenant_id, session_id, seq, role, status, reason, turn_id, contact_id, body, tokens,
                         model, created)
    SELECT message_id, tenant_id, held_id, seq, role,
           CASE WHEN refusal <> '' THEN 'refused' WHEN NOT answer OR owner <> 'agent' THEN 'noted' ELSE 'accepted' END,
           refusal, CASE WHEN fused THEN lead_turn END, contact_id, body, tokens, '', now()
    FROM placed
), turned AS (
    INSERT INTO turn (id, tenant_id, session_id, kind, status, merge, first_seq, last_seq, fence, attempts, reserved,
                      reason, model, input_tokens, output_tokens, error, created, started_at)
    SELECT turn_id, tenant_id, held_id, 'reply', CASE WHEN fused THEN 'running' ELSE 'due' END, merge, seq,
           CASE WHEN fused THEN seq + n - 1 ELSE seq END, CASE WHEN fused THEN fence ELSE 0 END, fused::int,
           CASE WHEN fused THEN coalesce((SELECT %(reserve)s FROM caps c WHERE c.tenant_id = placed.tenant_id
                AND c.metric = 'tokens_per_day' AND c.limit_value >= 0), 0) ELSE 0 END,
           '', '', 0, 0, '', now(), CASE WHEN fused THEN now() END
    FROM placed
    WHERE wanted AND owner = 'agent' AND (
        (fused AND nth = 1) OR (NOT fused AND NOT merge)
        OR (NOT fused AND merge AND NOT was_merge_due
            AND nth = (SELECT min(p.nth) FROM placed p WHERE p.held_id = placed.held_id AND p.wanted)))
    UNION ALL
    SELECT turn_id, tenant_id, held_id, 'notice', 'due', false, seq, seq, 0, 0, 0, refusal, '', 0, 0, '', now(), NULL
    FROM placed
    WHERE notify AND owner = 'agent' AND refusal IN ({polite})
      AND nth = (SELECT min(p.nth) FROM placed p WHERE p.held_id = placed.held_id
                 AND p.refusal IN ({polite}))
)
SELECT message_id, held_id, seq,
       CASE WHEN refusal = 'sessions' AND was_counted THEN (1 / (1 - was_counted::int))::text
            WHEN refusal <> '' THEN 'refused' WHEN NOT answer OR owner <> 'agent' THEN 'noted' ELSE 'accepted' END,
       refusal, CASE WHEN fused THEN lead_turn END, fence, version, held_subject, held_agent, unsettled,
       NOT fused AND due_turns > 0, n.id IS NOT NULL
FROM placed LEFT JOIN contacts n ON n.id = contact_id AND n.id = held_subject
"""

_LOCK = """
SELECT 1 FROM quota WHERE tenant_id = ANY (%(tenants)s::uuid[]) AND metric = ANY (%(metrics)s::text[])
ORDER BY tenant_id, metric FOR UPDATE
"""

_POISON = """
INSERT INTO event (id, tenant_id, type, connection_id, data, created)
VALUES (%(id)s, %(tenant)s, 'message.poison', %(connection)s, %(data)s, now())
"""

_IDLE = "s.owner = 'agent' AND s.turn_id IS NULL AND s.due_turns = 0"
_WANTED = "(EXCLUDED.due_turns - (EXCLUDED.refused_at IS NOT NULL)::int + (EXCLUDED.turn_id IS NOT NULL)::int)"
_WAITS = f"{_WANTED} > 0 AND s.owner = 'agent' AND NOT (EXCLUDED.turn_id IS NOT NULL AND {_IDLE})"
_NOTICE = (
    "(EXCLUDED.refused_at IS NOT NULL AND s.owner = 'agent'"
    " AND coalesce(s.refused_at < now() - interval '1 day', true))"
)
_POLITE = "'sessions', 'tokens_per_day', 'suspended'"
STATEMENT = _SQL.format(polite=_POLITE, idle=f"({_IDLE})", waits=_WAITS, wanted=_WANTED, notice=_NOTICE)


def _parameters(rows: Sequence[Accept], lease: Lease) -> dict[str, object]:
    return {
        "message_id": literals.uuids(row.message_id for row in rows),
        "tenant_id": literals.uuids(row.tenant_id for row in rows),
        "connection_id": literals.uuids(row.connection_id for row in rows),
        "key_hash": literals.blobs(row.key_hash for row in rows),
        "session_id": literals.uuids(row.session_id for row in rows),
        "address_hash": literals.blobs(row.address_hash for row in rows),
        "address": literals.blobs(row.address for row in rows),
        "agent_id": literals.uuids(row.agent_id for row in rows),
        "contact_id": literals.uuids(row.contact_id for row in rows),
        "contact_external": literals.blobs(row.contact_external for row in rows),
        "contact_name": literals.blobs(row.contact_name for row in rows),
        "subject_id": literals.uuids(row.subject_id for row in rows),
        "body": literals.blobs(row.body for row in rows),
        "role": literals.texts(row.role for row in rows),
        "tokens": literals.integers(row.tokens for row in rows),
        "answer": literals.booleans(row.answer for row in rows),
        "merge": literals.booleans(row.merge for row in rows),
        "debounce_ms": literals.integers(row.debounce_ms for row in rows),
        "turn_id": literals.uuids(row.turn_id for row in rows),
        "ephemeral": literals.booleans(row.ephemeral for row in rows),
        "runner": literals.uuids(row.runner for row in rows),
        "refusal": literals.texts(row.refusal for row in rows),
        "lease": lease.duration,
        "reserve": RESERVED_TOKENS,
    }


class Acceptor:
    """Writes batches of messages as hub_ingest; a batch that fails on its data is halved until the bad row is alone."""

    def __init__(self, connection: RoleConnection, lease: Lease) -> None:
        self._connection = connection
        self._lease = lease

    async def write(self, rows: Sequence[Accept]) -> list[Accepted | BaseException | None]:
        """One result per row: Accepted, None for a duplicate, or the DataError of a row that cannot be stored.

        Rows whose connection broke are written again for a while: nobody hears of a database that restarts. Those that
        had been stored without our hearing of it are duplicates then, of themselves; their turns are found by polling.
        """
        deadline, pause = time.monotonic() + AWAY_SECONDS, 0.05
        while True:
            try:
                return await self._write(rows)
            except psycopg.OperationalError as error:
                if not broke(error) or time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.5)

    async def _write(self, rows: Sequence[Accept]) -> list[Accepted | BaseException | None]:
        try:
            records = await self._connection.fetch(STATEMENT, _parameters(rows, self._lease), ahead=_locks(rows))
        except psycopg.errors.DivisionByZero:
            return await self._write(rows)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if len(rows) == 1:
                return [error]
            middle = len(rows) // 2
            return [*await self._write(rows[:middle]), *await self._write(rows[middle:])]
        found = {record[0]: _accepted(record) for record in records}
        return [found.get(row.message_id) for row in rows]

    async def note(self, event_id: UUID, tenant_id: UUID, connection_id: UUID, data: str) -> None:
        """Record a message that no row can hold; `data` is JSON without any text of it."""
        try:
            await self._connection.execute(
                _POISON, {"id": event_id, "tenant": tenant_id, "connection": connection_id, "data": data}
            )
        except psycopg.IntegrityError:  # its connection or tenant is gone, and so is whoever would read it
            return


def _locks(rows: Sequence[Accept]) -> Ahead | None:
    """The quota rows that these messages will count in, where that is likely; a wrong guess costs time only."""
    metrics = [] if all(row.known or row.ephemeral for row in rows) else ["sessions"]
    if any(row.runner is not None for row in rows):
        metrics += ["concurrency", "tokens_per_day"]
    if not metrics:
        return None
    return _LOCK, {"tenants": literals.uuids({row.tenant_id for row in rows}), "metrics": literals.texts(metrics)}


def _accepted(record: Sequence[Any]) -> Accepted:
    return Accepted(*record)
