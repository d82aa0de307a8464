"""Whether what is stored is whole: keys that open, cells that can be read, references that lead somewhere."""

from typing import Any
from uuid import UUID

import psycopg

from hub.cli.facts import looking
from hub.cli.finding import Finding, bad
from hub.cli.words import Phrase
from hub.env import Env
from tenants.crypto import CellRef
from tenants.errors import TenantsError

TENANTS = 50
"""So many tenants are looked at, the newest first, unless everything is asked for."""
CELLS = 5
"""The newest sealed cells of each kind that are opened for each tenant."""
_TENANTS = "SELECT id FROM tenant ORDER BY id DESC LIMIT %s"
# table, column, purpose of each kind of sealed cell
_CELLS = (
    ("connection", "secrets", "credentials"),
    ("message", "body", "content"),
    ("session", "title", "content"),
    ("memory_line", "body", "memory"),
    ("summary", "text", "memory"),
)
_UNCHECKED = "SELECT count(*) AS n FROM pg_constraint WHERE contype = 'f' AND NOT convalidated"
_ASTRAY = """
SELECT (SELECT count(*) FROM (SELECT turn_id FROM delivery ORDER BY id DESC LIMIT 10000) d
        WHERE NOT EXISTS (SELECT 1 FROM turn t WHERE t.id = d.turn_id))
     + (SELECT count(*) FROM (SELECT turn_id FROM message WHERE turn_id IS NOT NULL ORDER BY id DESC LIMIT 10000) m
        WHERE NOT EXISTS (SELECT 1 FROM turn t WHERE t.id = m.turn_id))
     + (SELECT count(*) FROM (SELECT connection_id FROM session ORDER BY id DESC LIMIT 10000) s
        WHERE NOT EXISTS (SELECT 1 FROM connection c WHERE c.id = s.connection_id))
     + (SELECT count(*) FROM (SELECT agent_id FROM connection ORDER BY id DESC LIMIT 10000) c
        WHERE NOT EXISTS (SELECT 1 FROM agent a WHERE a.id = c.agent_id)) AS n
"""
_LEADS_ASTRAY = Phrase(
    "restore the newest whole backup into a new folder (hub restore), and report how it came to this"
)

_WRONG_KEY = Phrase(
    "start with the master key that sealed them (HUB_MASTER_KEY or master.key); nothing else can open them"
)


def references(env: Env) -> Finding:
    """Foreign keys are all checked, and the newest rows lead to rows that exist."""
    with looking(env, reason="hub doctor: references") as conn:
        unchecked = (conn.execute(_UNCHECKED).fetchone() or {"n": 0})["n"]
        astray = (conn.execute(_ASTRAY).fetchone() or {"n": 0})["n"]
    if unchecked:
        return bad(
            "references",
            Phrase("{count} foreign keys were never checked", count=unchecked),
            "ALTER TABLE … VALIDATE CONSTRAINT",
        )
    if astray:
        return bad("references", Phrase("{count} of the newest rows lead nowhere", count=astray), _LEADS_ASTRAY)
    return Finding("references", Phrase("the newest rows of every kind lead to rows that exist"))


def cells(env: Env, *, everything: bool) -> Finding:
    """The master key opens the tenants' keys, and those open what is sealed. Django is set up."""
    limit = None if everything else TENANTS
    with looking(env, reason="hub doctor: sealed cells") as conn:
        tenants = [row["id"] for row in conn.execute(_TENANTS, (limit,)).fetchall()]
        opened, closed = 0, list[Phrase]()
        for tenant_id in tenants:
            count, fault = _of_tenant(conn, tenant_id, every=everything)
            opened += count
            closed += [fault] if fault else []
    if closed:
        told = Phrase("of {count} tenants cannot be opened: {first}", count=len(closed), first=closed[0])
        return bad("sealed cells", told, _WRONG_KEY)
    told = Phrase(
        "{cells} cells of {tenants} tenants were opened with the master key", cells=opened, tenants=len(tenants)
    )
    return Finding("sealed cells", told)


def _of_tenant(
    conn: "psycopg.Connection[dict[str, Any]]", tenant_id: UUID, *, every: bool
) -> tuple[int, Phrase | None]:
    """How many cells were opened, and what was wrong with the first that was not."""
    from hub.pipeline.reading import vault

    held = conn.execute("SELECT EXISTS (SELECT 1 FROM data_key WHERE tenant_id = %s) AS n", (tenant_id,)).fetchone()
    if not (held and held["n"]):
        return 0, None  # nothing was ever sealed for it, and looking makes no keys
    opened = 0
    try:
        vault().load_sync(tenant_id)
        for table, column, purpose in _CELLS:
            for row_id, blob in _newest(conn, tenant_id, table, column, limit=None if every else CELLS):
                vault().open(CellRef(tenant_id, purpose, table, column, row_id), bytes(blob))  # type: ignore[arg-type]  # one of the purposes above
                opened += 1
    except TenantsError as error:
        return opened, Phrase("{error} for tenant {id}", error=type(error).__name__, id=tenant_id)
    return opened, None


def _newest(
    conn: "psycopg.Connection[dict[str, Any]]", tenant_id: UUID, table: str, column: str, *, limit: int | None
) -> list[tuple[UUID, bytes]]:
    query = psycopg.sql.SQL(
        "SELECT id, {column} AS blob FROM {table} WHERE tenant_id = %s AND {column} IS NOT NULL "
        "ORDER BY id DESC LIMIT %s"
    ).format(column=psycopg.sql.Identifier(column), table=psycopg.sql.Identifier(table))
    return [(row["id"], row["blob"]) for row in conn.execute(query, (tenant_id, limit)).fetchall()]


def rows(env: Env) -> Finding | None:
    """Between a restore and the first start: every table has as many rows as the restore counted."""
    from hub.cli.dumping import MAINTENANCE, counts
    from hub.cli.restoring import restored

    wanted = restored(env.layout)
    if wanted is None or env.owner_dsn is None:
        return None
    with psycopg.connect(env.owner_dsn, options=MAINTENANCE, connect_timeout=5) as conn:
        found = counts(conn)
    wrong = sorted(name for name, count in wanted["tables"].items() if found.get(name) != count)
    if wrong:
        told = Phrase("differ from the backup in: {tables}", tables=", ".join(wrong))
        return bad("restored rows", told, Phrase("restore into a new folder again"))
    told = Phrase(
        "all {rows} of {tables} tables are there, as of {moment}",
        rows=sum(found.values()),
        tables=len(found),
        moment=wanted["made_at"],
    )
    return Finding("restored rows", told)
