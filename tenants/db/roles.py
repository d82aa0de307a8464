"""Database roles: made by `hub db init`, never by migrations, and checked again at every start."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

RUNTIME_ROLES = ("app", "ingest", "queue", "ops")


@dataclass(frozen=True, slots=True)
class RoleNames:
    """The six role names of one hub in a cluster that others may share."""

    prefix: str

    @property
    def owner(self) -> str:
        """Owns schema and tables; used by `hub migrate` alone."""
        return f"{self.prefix}_owner"

    @property
    def login(self) -> str:
        """The only role that run-time connections log in as; may do nothing until it takes another role."""
        return f"{self.prefix}_login"

    def runtime(self, role: str) -> str:
        """The full name of `app`, `ingest`, `queue` or `ops`."""
        if role not in RUNTIME_ROLES:
            raise ValueError(f"unknown role {role!r}, expected one of {', '.join(RUNTIME_ROLES)}")
        return f"{self.prefix}_{role}"


class Fault(NamedTuple):
    """What a login is or may do and should not; `names` are the roles or tables that the text is about."""

    text: str
    names: str = ""

    def __str__(self) -> str:
        return self.text.format(names=self.names)


class LoginRefused(RuntimeError):
    """The run-time login may do more than it should, so row-level security would not hold."""

    def __init__(self, login: str, faults: Sequence[Fault], remedy: str) -> None:
        self.login = login
        self.faults = tuple(faults)
        self.remedy = remedy
        super().__init__(f"the database login {login!r} is refused: {'; '.join(map(str, faults))}. {remedy}")


def create_roles(
    superuser_dsn: str,
    *,
    prefix: str,
    databases: Sequence[str],
    owner_password: str | None = None,
    login_password: str | None = None,
) -> None:
    """Make the roles and hand `databases` to the owner. Running it again repairs what was changed by hand.

    `superuser_dsn` must be a superuser or have CREATEROLE. Without a password a role keeps the one it has, which on
    a cluster with peer or trust authentication is none. Raises psycopg.Error where the server refuses.
    """
    names = RoleNames(prefix)
    with psycopg.connect(superuser_dsn, autocommit=True, connect_timeout=10) as conn:
        _make_role(conn, names.owner, "LOGIN INHERIT", owner_password)
        _make_role(conn, names.login, "LOGIN NOINHERIT", login_password)
        for role in RUNTIME_ROLES:
            _make_role(conn, names.runtime(role), "NOLOGIN INHERIT", None)
            _grant_membership(conn, names.runtime(role), names.login)
        _join_owner(conn, names)
        for database in databases:
            _hand_over_database(conn, names, database)
    for database in databases:
        with psycopg.connect(superuser_dsn, dbname=database, autocommit=True, connect_timeout=10) as conn:
            _hand_over_schema(conn, names)


def _make_role(conn: psycopg.Connection[Any], name: str, attributes: str, password: str | None) -> None:
    known = conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    verb = "ALTER ROLE" if known else "CREATE ROLE"
    superuser = _is_superuser(conn)
    limits = "NOCREATEDB NOCREATEROLE NOREPLICATION" + (" NOSUPERUSER NOBYPASSRLS" if superuser else "")
    statement = sql.SQL("{} {} {} {}").format(
        sql.SQL(verb), sql.Identifier(name), sql.SQL(attributes), sql.SQL(limits if superuser or not known else "")
    )
    if password is not None:
        statement += sql.SQL(" PASSWORD {}").format(sql.Literal(password))
    conn.execute(statement)


def _grant_membership(conn: psycopg.Connection[Any], role: str, member: str) -> None:
    conn.execute(
        sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE, ADMIN FALSE").format(
            sql.Identifier(role), sql.Identifier(member)
        )
    )


def _is_superuser(conn: psycopg.Connection[Any]) -> bool:
    row = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(row and row[0])


def _join_owner(conn: psycopg.Connection[Any], names: RoleNames) -> None:
    # Giving a database to a role needs membership in it; superusers have that already.
    if not _is_superuser(conn):
        conn.execute(sql.SQL("GRANT {} TO CURRENT_USER WITH SET TRUE").format(sql.Identifier(names.owner)))


def _hand_over_database(conn: psycopg.Connection[Any], names: RoleNames, database: str) -> None:
    name = sql.Identifier(database)
    conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(names.owner)))
    conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    conn.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(names.login)))


def _hand_over_schema(conn: psycopg.Connection[Any], names: RoleNames) -> None:
    conn.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(names.owner)))
    conn.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    roles = sql.SQL(", ").join(sql.Identifier(names.runtime(role)) for role in RUNTIME_ROLES)
    conn.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(roles))


# What the session's login is, could become by SET ROLE, or owns in this database.
_LOGIN_SQL = """
SELECT session_user::text, me.rolsuper, me.rolbypassrls, me.rolcreaterole, me.rolinherit,
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
             WHERE m.member = me.oid AND m.inherit_option ORDER BY 1),
       ARRAY(SELECT r.rolname::text FROM pg_roles r
             WHERE r.oid <> me.oid AND (r.rolsuper OR r.rolbypassrls)
               AND pg_has_role(me.oid, r.oid, 'MEMBER') ORDER BY 1),
       ARRAY(SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
               AND pg_has_role(me.oid, c.relowner, 'MEMBER') ORDER BY 1 LIMIT 5)
FROM pg_roles me WHERE me.rolname = session_user
"""


def check_login(conn: psycopg.Connection[Any]) -> None:
    """Refuse a run-time login that row-level security would not bind; raises LoginRefused with what to do."""
    row = conn.execute(_LOGIN_SQL).fetchone()
    if row is None:
        raise LoginRefused("?", [Fault("it is not in pg_roles")], "Run `hub db init`.")
    login, superuser, bypass, creates_roles, inherits, inherited, powerful, owned = row
    checks = (
        (superuser, Fault("it is a superuser, whom no policy binds")),
        (bypass, Fault("it has BYPASSRLS")),
        (creates_roles, Fault("it has CREATEROLE and could give itself any role")),
        (inherits, Fault("it has INHERIT, so it would act with all roles at once")),
        (inherited, Fault("it inherits from {names}", ", ".join(inherited))),
        (powerful and not superuser, Fault("it may become {names}", ", ".join(powerful))),
        (owned and not superuser, Fault("it owns or may become the owner of {names}", ", ".join(owned))),
    )
    faults = [fault for failed, fault in checks if failed]
    if faults:
        raise LoginRefused(
            login,
            faults,
            "Run `hub db init` and let HUB_DATABASE_URL log in as <prefix>_login; the owner belongs into "
            "HUB_DATABASE_OWNER_URL.",
        )
