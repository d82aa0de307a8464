"""Row-level security as migration operations, so that no table of a tenant ever exists without its policies.

A migration lists `Protect` right after the `CreateModel` of each table with a tenant, and `Expose` for tables of
everybody. `hub.tenant_id` after a transaction is an empty string, not NULL: hence the nullif in every policy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from psycopg import sql

from tenants.db.partitions import copy_protection, partitions_of
from tenants.db.roles import RoleNames

Access = Literal["rw", "ra", "r", ""]
_APP_PRIVILEGES: Mapping[str, str] = {"rw": "SELECT, INSERT, UPDATE, DELETE", "ra": "SELECT, INSERT", "r": "SELECT"}

_TENANT = sql.SQL("nullif(current_setting('hub.tenant_id', true), '')::uuid")
_REASON = sql.SQL("nullif(current_setting('hub.ops_reason', true), '') IS NOT NULL")
_MAINTENANCE = sql.SQL("current_setting('hub.maintenance', true) = 'on'")
_ALL = sql.SQL("true")


@dataclass(frozen=True, slots=True)
class Grant:
    """Which columns a role that sees all tenants' rows may touch; DELETE is by row, not by column."""

    select: tuple[str, ...] = ()
    insert: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    delete: bool = False

    def privileges(self) -> Iterator[sql.Composable]:
        """The privilege list of a GRANT statement, one item per verb."""
        for verb, columns in (("SELECT", self.select), ("INSERT", self.insert), ("UPDATE", self.update)):
            if columns:
                names = sql.SQL(", ").join(sql.Identifier(column) for column in columns)
                yield sql.SQL("{} ({})").format(sql.SQL(verb), names)
        if self.delete:
            yield sql.SQL("DELETE")


def names() -> RoleNames:
    """The role names of this hub, by `settings.HUB_DB_ROLE_PREFIX`."""
    return RoleNames(getattr(settings, "HUB_DB_ROLE_PREFIX", "hub"))


class _DatabaseOnly(Operation):
    """An operation that Django's model state does not see."""

    reduces_to_sql = True
    reversible = True
    atomic = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Models stay as they are."""

    def statements(self) -> Iterator[sql.Composed]:
        """What to run against the table itself."""
        raise NotImplementedError

    def reverse_statements(self) -> Iterator[sql.Composed]:
        """What takes it back."""
        raise NotImplementedError

    def database_forwards(
        self,
        app_label: str,  # noqa: ARG002 - Django's signature
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002
        to_state: ProjectState,  # noqa: ARG002
    ) -> None:
        """Run the statements."""
        self._run(schema_editor, self.statements())

    def database_backwards(
        self,
        app_label: str,  # noqa: ARG002 - Django's signature
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002
        to_state: ProjectState,  # noqa: ARG002
    ) -> None:
        """Take them back."""
        self._run(schema_editor, self.reverse_statements())

    def _run(self, schema_editor: BaseDatabaseSchemaEditor, statements: Iterator[sql.Composed]) -> None:
        for statement in statements:
            schema_editor.execute(statement.as_string(None), params=None)


class Expose(_DatabaseOnly):
    """Grants on a table that belongs to no tenant (`plan`): `app` by rows, the others by columns; no policies."""

    def __init__(
        self,
        table: str,
        *,
        app: Access = "r",
        ingest: Grant | None = None,
        queue: Grant | None = None,
        ops: bool = True,
    ) -> None:
        self.table = table
        self.app = app
        self.ingest = ingest
        self.queue = queue
        self.ops = ops

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """For the migration writer."""
        kwargs = {"app": self.app, "ingest": self.ingest, "queue": self.queue, "ops": self.ops}
        return self.__class__.__name__, [self.table], kwargs

    def describe(self) -> str:
        """One line for `migrate --plan`."""
        return f"Grant access to {self.table}"

    def roles(self) -> Iterator[tuple[str, sql.Composable]]:
        """Each role with its privilege list; the declaration that the privilege test compares with the catalogue."""
        if self.app:
            yield names().runtime("app"), sql.SQL(_APP_PRIVILEGES[self.app])
        for role, grant in (("ingest", self.ingest), ("queue", self.queue)):
            if grant is not None:
                yield names().runtime(role), sql.SQL(", ").join(grant.privileges())
        if self.ops:
            yield names().runtime("ops"), sql.SQL("SELECT")

    def statements(self) -> Iterator[sql.Composed]:
        """The grants."""
        for role, privileges in self.roles():
            yield sql.SQL("GRANT {} ON {} TO {}").format(privileges, sql.Identifier(self.table), sql.Identifier(role))

    def reverse_statements(self) -> Iterator[sql.Composed]:
        """Revoke everything from the run-time roles."""
        for role, _ in self.roles():
            yield sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.Identifier(self.table), sql.Identifier(role))


class Protect(Expose):
    """Forced row-level security, policies and grants for a table of tenants, and for its partitions.

    `app` works under its tenant; `ingest` and `queue` see all tenants' rows but only the granted columns; `ops` reads
    everything once a reason is set; the owner passes only while `hub.maintenance` is on.
    """

    def __init__(
        self,
        table: str,
        *,
        app: Access = "rw",
        ingest: Grant | None = None,
        queue: Grant | None = None,
        ops: bool = True,
        column: str = "tenant_id",
    ) -> None:
        super().__init__(table, app=app, ingest=ingest, queue=queue, ops=ops)
        self.column = column

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """For the migration writer."""
        name, args, kwargs = super().deconstruct()
        return name, args, {**kwargs, "column": self.column}

    def describe(self) -> str:
        """One line for `migrate --plan`."""
        return f"Protect {self.table} by row-level security"

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Protect the table, then let its partitions obey the same rules."""
        super().database_forwards(app_label, schema_editor, from_state, to_state)
        with schema_editor.connection.cursor() as cursor:
            for partition in partitions_of(cursor, self.table):
                copy_protection(cursor, self.table, partition=partition)

    def policies(self) -> Iterator[tuple[str, str, str, sql.Composable]]:
        """Policy name, command, role and condition."""
        mine = sql.SQL("{} = {}").format(sql.Identifier(self.column), _TENANT)
        roles = names()
        if self.app:
            yield "app", "ALL", roles.runtime("app"), mine
        if self.ingest is not None:
            yield "ingest", "ALL", roles.runtime("ingest"), _ALL
        if self.queue is not None:
            yield "queue", "ALL", roles.runtime("queue"), _ALL
        if self.ops:
            yield "ops", "SELECT", roles.runtime("ops"), _REASON
        yield "owner", "ALL", roles.owner, _MAINTENANCE

    def statements(self) -> Iterator[sql.Composed]:
        """Security first, grants last: there is no moment with access and without policies."""
        table = sql.Identifier(self.table)
        yield sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY").format(table)
        for policy, command, role, condition in self.policies():
            check = sql.SQL("") if command == "SELECT" else sql.SQL(" WITH CHECK ({})").format(condition)
            yield sql.SQL("CREATE POLICY {} ON {} FOR {} TO {} USING ({}){}").format(
                sql.Identifier(policy), table, sql.SQL(command), sql.Identifier(role), condition, check
            )
        yield from super().statements()

    def reverse_statements(self) -> Iterator[sql.Composed]:
        """Access ends before the policies do."""
        yield from super().reverse_statements()
        table = sql.Identifier(self.table)
        for policy, *_ in self.policies():
            yield sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(sql.Identifier(policy), table)
        yield sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY").format(table)


class CompositeKey(_DatabaseOnly):
    """UNIQUE (id, tenant): what a `TenantForeignKey` of another table points at."""

    def __init__(self, table: str, *, column: str = "tenant_id") -> None:
        self.table = table
        self.column = column

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """For the migration writer."""
        return self.__class__.__name__, [self.table], {"column": self.column}

    def describe(self) -> str:
        """One line for `migrate --plan`."""
        return f"Make (id, {self.column}) of {self.table} a key"

    def statements(self) -> Iterator[sql.Composed]:
        """Add the constraint."""
        yield sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} UNIQUE (id, {})").format(
            sql.Identifier(self.table), sql.Identifier(f"{self.table}_id_tenant_key"), sql.Identifier(self.column)
        )

    def reverse_statements(self) -> Iterator[sql.Composed]:
        """Drop it."""
        yield sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
            sql.Identifier(self.table), sql.Identifier(f"{self.table}_id_tenant_key")
        )


class TenantForeignKey(_DatabaseOnly):
    """A foreign key over (column, tenant_id), so that a batch cannot join one tenant's row to another's.

    The Django field keeps `db_constraint=False`; the target needs a `CompositeKey`. Checked at commit, as Django's own.
    """

    def __init__(self, table: str, column: str, to_table: str) -> None:
        self.table = table
        self.column = column
        self.to_table = to_table

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """For the migration writer."""
        return self.__class__.__name__, [self.table, self.column, self.to_table], {}

    def describe(self) -> str:
        """One line for `migrate --plan`."""
        return f"Bind {self.table}.{self.column} to {self.to_table} within the tenant"

    def _name(self) -> sql.Identifier:
        return sql.Identifier(f"{self.table}_{self.column}_tenant_fk")

    def statements(self) -> Iterator[sql.Composed]:
        """Add the constraint."""
        yield sql.SQL(
            "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}, tenant_id) REFERENCES {} (id, tenant_id) "
            "DEFERRABLE INITIALLY DEFERRED"
        ).format(sql.Identifier(self.table), self._name(), sql.Identifier(self.column), sql.Identifier(self.to_table))

    def reverse_statements(self) -> Iterator[sql.Composed]:
        """Drop it."""
        yield sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.Identifier(self.table), self._name())
