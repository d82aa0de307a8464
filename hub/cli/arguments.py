"""Options that many commands share, and their completion in the shell."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])
_SECONDS = 1
"""How long completion may look for a database: somebody waits with a finger on the tab key."""


def tenant(function: F) -> F:
    """`--tenant SLUG`, as the argument `slug`."""
    return click.option(
        "--tenant", "slug", required=True, metavar="SLUG", shell_complete=tenants, help="The tenant it is about."
    )(function)


def slug(function: F) -> F:
    """The tenant itself as the argument SLUG."""
    return click.argument("slug", shell_complete=tenants)(function)


def yes(function: F) -> F:
    """`--yes` for what asks before it harms."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


def limit(function: F) -> F:
    """`--limit N` of a list."""
    return click.option(
        "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="The most rows to list."
    )(function)


def tenants(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Slugs of tenants, where a database answers at once."""
    rows = _look("SELECT slug, name FROM tenant ORDER BY slug LIMIT 200")
    return [CompletionItem(slug, help=name) for slug, name in rows if slug.startswith(incomplete)]


def connections(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of connections, those of the tenant that the line names."""
    rows = _look(
        "SELECT c.name, c.channel FROM connection c JOIN tenant t ON t.id = c.tenant_id "
        "WHERE %(slug)s::text IS NULL OR t.slug = %(slug)s ORDER BY c.name LIMIT 200",
        slug=ctx.params.get("slug"),
    )
    return [CompletionItem(name, help=channel) for name, channel in rows if name.startswith(incomplete)]


def agents(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of agents, those of the tenant that the line names."""
    rows = _look(
        "SELECT a.name, t.slug FROM agent a JOIN tenant t ON t.id = a.tenant_id "
        "WHERE %(slug)s::text IS NULL OR t.slug = %(slug)s ORDER BY a.name LIMIT 200",
        slug=ctx.params.get("slug"),
    )
    return [CompletionItem(name, help=of) for name, of in rows if name.startswith(incomplete)]


def channels(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The channels there are, without loading one."""
    import pkgutil

    from channels_adapters import platforms

    names = (one.name for one in pkgutil.iter_modules(platforms.__path__))
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def _look(query: str, **values: Any) -> list[Any]:
    """Rows seen by the operators' role; none where nothing can be asked: completion starts no server."""
    import psycopg
    from psycopg import sql

    from hub.embedded.postgres import accepts_connections
    from hub.env import EnvError, env

    try:
        found = env()
        if found.embedded_postgres and not accepts_connections(found.layout):
            return []
        with psycopg.connect(found.direct_dsn, connect_timeout=_SECONDS) as conn:
            conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{found.db_role_prefix}_ops")))
            conn.execute("SELECT set_config('hub.ops_reason', 'shell completion', false)")
            return conn.execute(query, values or None).fetchall()
    except (psycopg.Error, EnvError, OSError):
        return []
