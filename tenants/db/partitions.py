"""Tables partitioned by month of their time-ordered id, so that the primary key stays `id` alone.

A partition is reachable by its own name, and then the policies of its parent do not apply: each gets the parent's
security, policies and grants before it is attached, copied from the catalogue so that nothing is declared twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState
from psycopg import sql

from tenants.ids import floor


class Cursor(Protocol):
    """What a psycopg cursor and a Django cursor have in common."""

    def execute(self, query: Any, params: Any = None, /) -> Any:
        """Run one statement."""

    def fetchall(self) -> list[Any]:
        """All rows of the last one."""


class CreatePartitionedModel(migrations.CreateModel):
    """CreateModel whose table is PARTITION BY RANGE (id), with an empty default partition; the model is ordinary.

    `makemigrations` writes a CreateModel; change the name by hand. The primary key must be a UUID `id`.
    """

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Create the parent; months are made by `ensure_partitions`."""
        table = to_state.apps.get_model(app_label, self.name)._meta.db_table
        plain = schema_editor.sql_create_table
        schema_editor.sql_create_table = f"{plain} PARTITION BY RANGE (id)"
        try:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            schema_editor.sql_create_table = plain
        default = sql.SQL("CREATE TABLE {} PARTITION OF {} DEFAULT").format(
            sql.Identifier(f"{table}_default"), sql.Identifier(table)
        )
        schema_editor.execute(default.as_string(None), params=None)

    def describe(self) -> str:
        """One line for `migrate --plan`."""
        return f"Create model {self.name}, partitioned by month"


def ensure_partitions(conn: Any, *, months_ahead: int) -> list[str]:
    """Make last month's to `months_ahead` months' partitions of every partitioned table; returns the new ones' names.

    `conn` is a psycopg or Django connection of the schema's owner. Safe to run twice at once and while the hub runs:
    attaching takes no lock that stops reads or writes of other partitions.
    """
    made = []
    with _transaction(conn), conn.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', '5s', true), pg_advisory_xact_lock(4853301)")
        cursor.execute("SELECT date_trunc('month', now() AT TIME ZONE 'UTC')")
        this_month: datetime = cursor.fetchall()[0][0].replace(tzinfo=UTC)
        for table in partitioned_tables(cursor):
            known = set(partitions_of(cursor, table))
            for offset in range(-1, months_ahead + 1):
                start = _month(this_month, offset)
                name = f"{table}_{start:%Y_%m}"
                if name not in known:
                    _make_partition(cursor, table, name=name, start=start)
                    made.append(name)
    return made


@contextmanager
def _transaction(conn: Any) -> Iterator[None]:
    """One transaction on either kind of connection."""
    from django.db import transaction

    alias = getattr(conn, "alias", None)
    with transaction.atomic(using=alias) if alias is not None else conn.transaction():
        yield


def _month(start: datetime, offset: int) -> datetime:
    months = start.year * 12 + start.month - 1 + offset
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def _make_partition(cursor: Cursor, table: str, *, name: str, start: datetime) -> None:
    parent, partition = sql.Identifier(table), sql.Identifier(name)
    _run(
        cursor, sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(partition, parent)
    )
    copy_protection(cursor, table, partition=name)
    _run(
        cursor,
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            parent, partition, sql.Literal(str(floor(start))), sql.Literal(str(floor(_month(start, 1))))
        ),
    )


def partitioned_tables(cursor: Cursor) -> list[str]:
    """Every table of ours that is partitioned by a range."""
    cursor.execute(
        "SELECT c.relname::text FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid "
        "WHERE p.partstrat = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    return [row[0] for row in cursor.fetchall()]


def partitions_of(cursor: Cursor, table: str) -> list[str]:
    """Names of a table's partitions, none for an ordinary table."""
    cursor.execute(
        "SELECT i.inhrelid::regclass::text FROM pg_inherits i WHERE i.inhparent = to_regclass(%s) ORDER BY 1", (table,)
    )
    return [row[0] for row in cursor.fetchall()]


def copy_protection(cursor: Cursor, parent: str, *, partition: str) -> None:
    """Give a partition exactly the security, policies and grants of its parent, dropping what it had."""
    for policy in _policies(cursor, partition):
        _run(cursor, sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(policy[0]), sql.Identifier(partition)))
    if _is_forced(cursor, parent):
        _run(
            cursor,
            sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY").format(
                sql.Identifier(partition)
            ),
        )
    for name, command, roles, using, check in _policies(cursor, parent):
        _run(cursor, _policy(partition, name=name, command=command, roles=roles, using=using, check=check))
    for role, privilege, columns in _grants(cursor, parent):
        _run(cursor, _grant(partition, role=role, privilege=privilege, columns=columns))


def _run(cursor: Cursor, statement: sql.Composable) -> None:
    # Without parameters no adapter looks for placeholders, so a percent sign in a policy stays what it is.
    cursor.execute(statement.as_string(None))


def _is_forced(cursor: Cursor, table: str) -> bool:
    cursor.execute("SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)", (table,))
    return bool(cursor.fetchall()[0][0])


def _policies(cursor: Cursor, table: str) -> list[Any]:
    cursor.execute(
        "SELECT policyname::text, cmd, roles::text[], qual, with_check FROM pg_policies "
        "WHERE schemaname = 'public' AND tablename = %s ORDER BY 1",
        (table,),
    )
    return cursor.fetchall()


def _policy(
    table: str, *, name: str, command: str, roles: list[str], using: str | None, check: str | None
) -> sql.Composable:
    statement: sql.Composed = sql.SQL("CREATE POLICY {} ON {} FOR {} TO {}").format(
        sql.Identifier(name),
        sql.Identifier(table),
        sql.SQL(command),
        sql.SQL(", ").join(sql.Identifier(role) for role in roles),
    )
    # Both expressions come out of the server's own catalogue.
    if using is not None:
        statement += sql.SQL(f" USING ({using})")
    if check is not None:
        statement += sql.SQL(f" WITH CHECK ({check})")
    return statement


def _grants(cursor: Cursor, table: str) -> list[Any]:
    cursor.execute(
        """
        SELECT g.rolname::text, a.privilege_type, NULL::text[]
        FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles g ON g.oid = a.grantee
        WHERE c.oid = to_regclass(%s) AND a.grantee <> c.relowner
        UNION ALL
        SELECT g.rolname::text, a.privilege_type, array_agg(t.attname::text ORDER BY t.attnum)
        FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
        JOIN pg_roles g ON g.oid = a.grantee
        WHERE c.oid = to_regclass(%s) AND a.grantee <> c.relowner AND NOT t.attisdropped
        GROUP BY 1, 2
        """,
        (table, table),
    )
    return cursor.fetchall()


def _grant(table: str, *, role: str, privilege: str, columns: list[str] | None) -> sql.Composable:
    names: sql.Composable = sql.SQL("")
    if columns is not None:
        names = sql.SQL(" ({})").format(sql.SQL(", ").join(sql.Identifier(column) for column in columns))
    return sql.SQL("GRANT {}{} ON {} TO {}").format(
        sql.SQL(privilege), names, sql.Identifier(table), sql.Identifier(role)
    )
