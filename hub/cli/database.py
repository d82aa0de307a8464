"""The database as commands need it: reachable, with its roles and its schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import django
import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from psycopg.conninfo import conninfo_to_dict

from hub import embedded
from hub.cli.output import CommandFailed
from hub.embedded.postgres import ensure_database
from hub.env import Env, select_settings
from tenants.db.roles import create_roles

__all__ = [
    "DatabaseError",
    "available",
    "close_connections",
    "database_name",
    "initialise",
    "migrate",
    "pending",
    "set_up_django",
    "working",
]


@contextmanager
def available(env: Env, *, purpose: str) -> Iterator[None]:
    """Have the database up inside the block: the foreign one, the running hub's, or one started for the block."""
    if not env.embedded_postgres:
        yield
        return
    with embedded.running(env.layout, purpose=purpose):
        yield
        close_connections()


@contextmanager
def working(env: Env, *, purpose: str) -> Iterator[None]:
    """`available`, migrated if the database is ours, and with Django set up: what most commands need."""
    with available(env, purpose=purpose):
        if env.embedded_postgres:
            initialise(env)
        set_up_django()
        if env.embedded_postgres and pending(env):
            migrate(env)
        yield


def initialise(env: Env, *, superuser_dsn: str | None = None) -> None:
    """Make the database and its roles; a foreign cluster needs the address of a role that may do that."""
    address = superuser_dsn or (env.layout.superuser_dsn if env.embedded_postgres else None)
    if address is None:
        raise CommandFailed("a foreign database needs --superuser-url, a role that may create roles")
    name = database_name(env)
    ensure_database(address, name)
    if not env.embedded_postgres:
        _have_vector(address, name)
    create_roles(
        address,
        prefix=env.db_role_prefix,
        databases=[name],
        owner_password=_password(env.owner_dsn),
        login_password=_password(env.login_dsn),
    )


def _have_vector(address: str, name: str) -> None:
    """The extension that the owner role may not make by itself."""
    with psycopg.connect(address, dbname=name, autocommit=True, connect_timeout=10) as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            raise CommandFailed(
                "pgvector cannot be set up in the database {name}: {reason}", name=name, reason=error
            ) from error


def _password(dsn: str | None) -> str | None:
    """The password in an address: the role gets the one that its processes will use."""
    found = conninfo_to_dict(dsn).get("password") if dsn else None
    return str(found) if found else None


def database_name(env: Env) -> str:
    """The name of the hub's database."""
    return str(conninfo_to_dict(env.login_dsn).get("dbname") or "hub")


def migrate(env: Env) -> None:
    """Bring the schema up to date as its owner."""
    _need_owner(env)
    set_up_django()
    call_command("migrate", database="owner", interactive=False, verbosity=0)


def pending(env: Env) -> list[str]:
    """Migrations that were not applied yet, by `app.name`."""
    _need_owner(env)
    set_up_django()
    executor = MigrationExecutor(connections["owner"])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


@lru_cache(maxsize=1)
def set_up_django() -> None:
    """Load Django with our settings, once."""
    select_settings()
    django.setup()


def close_connections() -> None:
    """Close Django's connections, so that a server started for one command stops at once."""
    if settings.configured:
        connections.close_all()


def _need_owner(env: Env) -> None:
    if env.owner_dsn is None:
        raise CommandFailed("HUB_DATABASE_OWNER_URL is missing: the schema is changed by its owner, not by the login")
