"""Every tenant table the catalogue knows, and a row of any of them for any tenant."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from django.db import connection
from psycopg import sql

from tenants.ids import uuid7


@dataclass(frozen=True, slots=True)
class Table:
    """A table, or a partition under its own name, with the column that holds the tenant."""

    name: str
    column: str
    is_partition: bool
    has_id: bool
    """Not all do: a message key is its connection and hash."""

    @property
    def ident(self) -> sql.Identifier:
        return sql.Identifier(self.name)


TABLES = """
SELECT c.relname::text, CASE WHEN c.relname = 'tenant' THEN 'id' ELSE 'tenant_id' END, c.relispartition,
    EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'id' AND NOT a.attisdropped)
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND (c.relname = 'tenant' OR EXISTS (SELECT 1 FROM pg_attribute a
       WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))
ORDER BY 1
"""
COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypmod
FROM pg_attribute a
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
ORDER BY a.attnum
"""


def tenant_tables(conn: psycopg.Connection[Any]) -> list[Table]:
    return [Table(*row) for row in conn.execute(TABLES).fetchall()]


def _value(kind: str) -> Any:
    if kind == "uuid":
        return uuid7()
    if kind.endswith("[]"):
        return "{}"
    if kind.startswith(("character varying", "text")):
        size = int(kind.partition("(")[2].rstrip(")") or 32)
        return uuid4().hex[:size]
    if kind.startswith("vector("):
        return str([0.5] * int(kind[7:-1]))
    simple: dict[str, Any] = {"boolean": False, "bytea": b"x", "jsonb": "{}", "tsvector": "", "date": "2026-01-01"}
    if kind in simple:
        return simple[kind]
    return "now" if kind.startswith("timestamp") else 1


def insert_row(conn: psycopg.Connection[Any], table: Table, tenant_id: UUID, **given: Any) -> None:
    """A row with made-up values; the connection is a superuser's that skips triggers and so foreign keys."""
    columns = conn.execute(COLUMNS, (table.name,)).fetchall()
    values = {name: _value(kind) for name, kind, _ in columns} | {table.column: tenant_id} | given
    names = sql.SQL(", ").join(map(sql.Identifier, values))
    marks = sql.SQL(", ").join(sql.Placeholder() * len(values))
    conn.execute(sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(table.ident, names, marks), list(values.values()))


def close() -> None:
    """Close the calling thread's connection (the proxy must be looked up in that thread)."""
    connection.close()
