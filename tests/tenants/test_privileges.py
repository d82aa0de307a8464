"""What each role may do, compared with what the migrations declare; and what no table, view or function may be."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.apps import apps
from django.db.migrations.loader import MigrationLoader
from psycopg import sql

from tenants.db.partitions import CreatePartitionedModel, ensure_partitions
from tenants.db.rls import CompositeKey, Expose, Grant, Protect, TenantForeignKey
from tenants.db.roles import LoginRefused, check_login, create_roles
from tests.conftest import Database
from tests.tenants.support import Table

ROLES = ("app", "ingest", "queue", "ops")
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
# Functions that run with their owner's rights, each with a reason. None so far.
SECURITY_DEFINER: frozenset[str] = frozenset()


def declared() -> Iterator[Expose]:
    """Every grant that our migrations make."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    ours = {config.label for config in apps.get_app_configs() if config.label in ("tenants", "memory", "agents", "hub")}
    for (label, _), migration in loader.disk_migrations.items():
        if label in ours:
            yield from (operation for operation in migration.operations if isinstance(operation, Expose))


def columns_of(conn: psycopg.Connection[Any], table: str) -> list[str]:
    query = (
        "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
    )
    return [row[0] for row in conn.execute(query, (table,)).fetchall()]


def expected_columns(operation: Expose, role: str, privilege: str, columns: list[str]) -> set[str]:
    if role == "app":
        verbs = {"rw": ("SELECT", "INSERT", "UPDATE"), "ra": ("SELECT", "INSERT"), "r": ("SELECT",), "": ()}
        return set(columns) if privilege in verbs[operation.app] else set()
    if role == "ops":
        return set(columns) if operation.ops and privilege == "SELECT" else set()
    grant: Grant | None = getattr(operation, role)
    return set(getattr(grant, privilege.lower())) if grant is not None else set()


def test_column_privileges_are_those_declared(database: Database) -> None:
    operations = list(declared())
    assert len(operations) >= 7
    merged: dict[tuple[str, str, str], set[str]] = {}
    with psycopg.connect(database.superuser_dsn) as conn:
        for operation in operations:
            names = [operation.table]
            names += [
                row[0]
                for row in conn.execute(
                    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(%s)",
                    (operation.table,),
                )
            ]
            for name in names:
                columns = columns_of(conn, name)
                for role in ROLES:
                    for privilege in ("SELECT", "INSERT", "UPDATE"):
                        key = (name, role, privilege)
                        merged.setdefault(key, set()).update(expected_columns(operation, role, privilege, columns))
        for (name, role, privilege), expected in merged.items():
            actual = {
                row[0]
                for row in conn.execute(
                    "SELECT c FROM unnest(%s::text[]) c WHERE has_column_privilege(%s, %s, c, %s)",
                    (columns_of(conn, name), f"hub_{role}", name, privilege),
                )
            }
            assert actual == expected, (name, role, privilege)


def test_the_narrow_roles_of_this_package() -> None:
    """The table of the design, written out: a change of the migrations must be a change here too."""
    grants = {operation.table: operation for operation in declared()}
    ingest = {name: set(op.ingest.select) for name, op in grants.items() if op.ingest is not None}
    queue = {name: set(op.queue.select) for name, op in grants.items() if op.queue is not None}
    assert ingest["tenant"] == {"id", "status", "plan_id", "language", "zone"}
    assert "wrapped" not in ingest.get("data_key", set()) | queue.get("data_key", set())
    assert ingest["api_key"] == {"id", "tenant_id", "agent_id", "prefix", "hash", "scopes", "expires_at", "revoked_at"}
    quota = grants["quota"]
    assert quota.ingest is not None
    assert quota.queue is not None
    # `reserved`: an accepted message of a warm session begins its turn at once and sets its tokens aside itself.
    assert set(quota.ingest.update) == {"used", "reserved", "period_start", "alerted_at"}
    assert set(quota.queue.update) == {"used", "reserved", "period_start"}
    assert not any(
        op.ingest and op.ingest.insert for op in grants.values() if op.table in ("tenant", "quota", "api_key")
    )


@pytest.mark.parametrize("role", ROLES)
def test_each_role_tries_everything_it_may_not(
    database: Database, tables: list[Table], pair: object, role: str
) -> None:
    refused = 0
    with psycopg.connect(
        database.login_dsn, autocommit=True, options=f"-c role=hub_{role} -c hub.ops_reason=test"
    ) as conn:
        for table in tables:
            for statement, privilege, column in _attempts(conn, table):
                if _may(conn, table.name, privilege, column):
                    continue
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(statement)
                refused += 1
        for attempt in ("CREATE TABLE mine (x int)", "CREATE SCHEMA mine", "SET ROLE hub_owner", "SET ROLE postgres"):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject)):
                conn.execute(attempt)
    assert refused > len(tables)


def _attempts(conn: psycopg.Connection[Any], table: Table) -> Iterator[tuple[sql.Composed, str, str | None]]:
    yield sql.SQL("TRUNCATE {}").format(table.ident), "TRUNCATE", None
    yield sql.SQL("DELETE FROM {}").format(table.ident), "DELETE", None
    yield sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(table.ident), "OWNER", None
    yield sql.SQL("DROP TABLE {}").format(table.ident), "OWNER", None
    yield sql.SQL("CREATE POLICY mine ON {} USING (true)").format(table.ident), "OWNER", None
    for column in columns_of(conn, table.name):
        name = sql.Identifier(column)
        yield sql.SQL("SELECT {} FROM {}").format(name, table.ident), "SELECT", column
        yield sql.SQL("UPDATE {} SET {} = NULL").format(table.ident, name), "UPDATE", column
        yield sql.SQL("INSERT INTO {} ({}) VALUES (NULL)").format(table.ident, name), "INSERT", column


def _may(conn: psycopg.Connection[Any], table: str, privilege: str, column: str | None) -> bool:
    if privilege == "OWNER":
        return False
    if column is None:
        row = conn.execute("SELECT has_table_privilege(%s, %s)", (table, privilege)).fetchone()
    else:
        row = conn.execute("SELECT has_column_privilege(%s, %s, %s)", (table, column, privilege)).fetchone()
    return bool(row and row[0])


@pytest.mark.parametrize("role", ["app", "ingest", "queue", "ops"])
def test_without_its_setting_a_role_sees_no_tenant(database: Database, pair: object, role: str) -> None:
    with psycopg.connect(database.login_dsn, options=f"-c role=hub_{role}") as conn:
        count = conn.execute("SELECT count(id) FROM tenant").fetchone()
    # The queue roles see all rows of a few columns: that is what they are for.
    assert (count == (0,)) == (role in ("app", "ops"))


def test_the_bare_login_may_nothing(database: Database, tables: list[Table]) -> None:
    with psycopg.connect(database.login_dsn, autocommit=True) as conn:
        for table in tables:
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)):
                conn.execute(sql.SQL("SELECT FROM {}").format(table.ident))


def test_the_owner_passes_only_during_maintenance(database: Database, tables: list[Table], pair: object) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as conn:
        for setting, expected in (("", False), ("on", True)):
            conn.execute("SELECT set_config('hub.maintenance', %s, false)", (setting,))
            for table in tables:
                row = conn.execute(sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(table.ident)).fetchone()
                assert row == (expected,) or (table.is_partition and row == (False,)), table


GUARD = """
SELECT 'unprotected table ' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'p', 'f')
  AND (c.relname = 'tenant' OR EXISTS (SELECT 1 FROM pg_attribute a
       WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
UNION ALL
SELECT 'no policy for ' || c.relname FROM pg_class c
WHERE c.relrowsecurity AND NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid)
UNION ALL
SELECT 'view without security_invoker ' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND (c.relkind = 'm' OR c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY(c.reloptions), false))
UNION ALL
SELECT 'security definer ' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prosecdef AND NOT p.proname = ANY(%s)
UNION ALL
SELECT 'granted to everybody ' || c.relname FROM pg_class c, aclexplode(c.relacl) a
WHERE a.grantee = 0 AND c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'rows in the default partition ' || c.relname FROM pg_class c
WHERE c.relispartition AND c.relname LIKE '%%\\_default' AND c.reltuples > 0
"""


def faults(conn: psycopg.Connection[Any]) -> list[str]:
    return [row[0] for row in conn.execute(GUARD, (list(SECURITY_DEFINER),)).fetchall()]


def test_the_schema_has_no_unguarded_door(database: Database) -> None:
    with psycopg.connect(database.superuser_dsn) as conn:
        assert faults(conn) == []


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("CREATE TABLE loose (id uuid, tenant_id uuid)", "unprotected table loose"),
        ("ALTER TABLE quota NO FORCE ROW LEVEL SECURITY", "unprotected table quota"),
        ("CREATE VIEW peek AS SELECT * FROM quota", "view without security_invoker peek"),
        ("CREATE MATERIALIZED VIEW peek AS SELECT * FROM quota", "view without security_invoker peek"),
        ("CREATE FUNCTION peek() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", "security definer peek"),
        ("GRANT SELECT ON quota TO PUBLIC", "granted to everybody quota"),
    ],
)
def test_the_guard_finds_planted_doors(database: Database, statement: str, fault: str) -> None:
    with psycopg.connect(database.superuser_dsn) as conn:
        conn.execute(statement)
        assert fault in faults(conn)
        conn.rollback()


def test_the_login_is_accepted(database: Database) -> None:
    with psycopg.connect(database.login_dsn) as conn:
        check_login(conn)
    with psycopg.connect(database.login_dsn, options="-c role=hub_app") as conn:
        check_login(conn)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("", ""),
        ("ALTER ROLE {r} SUPERUSER", "superuser"),
        ("ALTER ROLE {r} BYPASSRLS", "BYPASSRLS"),
        ("ALTER ROLE {r} CREATEROLE", "CREATEROLE"),
        ("ALTER ROLE {r} INHERIT", "INHERIT"),
        ("GRANT hub_app TO {r} WITH INHERIT TRUE", "inherits from hub_app"),
        ("GRANT hub_owner TO {r} WITH INHERIT FALSE, SET TRUE", "owner of"),
        ("GRANT pg_read_all_data TO {r} WITH INHERIT TRUE", "inherits from pg_read_all_data"),
    ],
)
def test_a_login_that_is_more_than_a_login_is_refused(database: Database, change: str, fault: str) -> None:
    # A role belongs to the whole cluster, so its name is this worker's own.
    role = f"suspect_{database.name}"
    with psycopg.connect(database.superuser_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN NOINHERIT")
        try:
            admin.execute(f"GRANT CONNECT ON DATABASE {database.name} TO {role}")
            if change:
                admin.execute(change.format(r=role))
            with psycopg.connect(database.superuser_dsn, user=role) as conn:
                if not fault:
                    check_login(conn)
                else:
                    with pytest.raises(LoginRefused, match=fault) as refused:
                        check_login(conn)
                    assert "hub db init" in refused.value.remedy
        finally:
            admin.execute(f"REVOKE ALL ON DATABASE {database.name} FROM {role}")
            admin.execute(f"DROP ROLE {role}")


def test_roles_are_made_again_without_harm(database: Database) -> None:
    prefix = f"again_{database.name}"
    with psycopg.connect(database.superuser_dsn, autocommit=True) as admin:
        for _ in range(2):
            create_roles(database.superuser_dsn, prefix=prefix, databases=[])
        query = (
            "SELECT rolname::text, rolcanlogin, rolinherit, rolsuper OR rolbypassrls OR rolcreaterole "
            "FROM pg_roles WHERE rolname LIKE %s ORDER BY 1"
        )
        rows = admin.execute(query, (f"{prefix}\\_%",)).fetchall()
        assert [(name.rpartition("_")[2], *rest) for name, *rest in rows] == [
            ("app", False, True, False), ("ingest", False, True, False), ("login", True, False, False),
            ("ops", False, True, False), ("owner", True, True, False), ("queue", False, True, False),
        ]  # fmt: skip
        for name, *_ in sorted(rows, reverse=True):
            admin.execute(f"DROP ROLE {name}")


def test_partitions_are_made_ahead_and_protected(database: Database) -> None:
    with psycopg.connect(database.owner_dsn) as conn:
        made = ensure_partitions(conn, months_ahead=14)
        assert len(made) >= 10
        assert ensure_partitions(conn, months_ahead=14) == []
        protected = "SELECT count(*) FROM pg_class WHERE relname = ANY(%s) AND relrowsecurity AND relforcerowsecurity"
        assert conn.execute(protected, (made,)).fetchone() == (len(made),)
        policies = "SELECT count(*), count(DISTINCT tablename) FROM pg_policies WHERE tablename = ANY(%s)"
        per_table = conn.execute("SELECT count(*) FROM pg_policies WHERE tablename = 'usage'").fetchone()
        assert per_table is not None
        usage = [name for name in made if name.startswith("usage_")]
        assert conn.execute(policies, (usage,)).fetchone() == (len(usage) * per_table[0], len(usage))
        conn.rollback()


def test_partitioned_models_stay_ordinary() -> None:
    loader = MigrationLoader(None, ignore_no_migrations=True)
    operations = [op for migration in loader.disk_migrations.values() for op in migration.operations]
    assert any(isinstance(op, CreatePartitionedModel) for op in operations)
    assert apps.get_model("tenants", "Usage")._meta.pk.name == "id"


def test_protect_is_reversible(database: Database) -> None:
    operation = Protect("loose", ingest=Grant(select=("id",), insert=("id",), delete=True), queue=Grant(update=("id",)))
    with psycopg.connect(database.owner_dsn) as conn:
        conn.execute("CREATE TABLE loose (id uuid PRIMARY KEY, tenant_id uuid)")
        state = (
            "SELECT relrowsecurity, relforcerowsecurity, relacl IS NULL OR relacl::text NOT LIKE '%hub_app%', "
            "(SELECT count(*) FROM pg_policies WHERE tablename = 'loose') FROM pg_class WHERE relname = 'loose'"
        )
        for _ in range(2):
            for statement in operation.statements():
                conn.execute(statement)
            assert conn.execute(state).fetchone() == (True, True, False, 5)
            for statement in operation.reverse_statements():
                conn.execute(statement)
            assert conn.execute(state).fetchone() == (False, False, True, 0)
        conn.rollback()


def test_composite_keys_stop_mix_ups_between_tenants(database: Database) -> None:
    mine, theirs, row = uuid4(), uuid4(), uuid4()
    with psycopg.connect(database.owner_dsn) as conn:
        conn.execute("CREATE TABLE parent (id uuid PRIMARY KEY, tenant_id uuid) PARTITION BY RANGE (id)")
        conn.execute("CREATE TABLE parent_default PARTITION OF parent DEFAULT")
        conn.execute("CREATE TABLE child (id uuid PRIMARY KEY, tenant_id uuid, parent_id uuid)")
        operations = (CompositeKey("parent"), TenantForeignKey("child", "parent_id", "parent"))
        for operation in operations:
            for statement in operation.statements():
                conn.execute(statement)
        conn.execute("INSERT INTO parent VALUES (%s, %s)", (row, mine))
        conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        conn.execute("INSERT INTO child VALUES (%s, %s, %s)", (uuid4(), mine, row))
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            conn.execute("INSERT INTO child VALUES (%s, %s, %s)", (uuid4(), theirs, row))
        conn.rollback()
    assert [operation.deconstruct()[0] for operation in operations] == ["CompositeKey", "TenantForeignKey"]
