"""Finding what a command names, and saying in one line what was wrong with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from hub.cli.output import CommandFailed
from hub.cli.refusals import one_line
from hub.phrase import marked

if TYPE_CHECKING:
    from agents.models import Agent
    from hub.models import Connection
    from tenants.crypto import Vault
    from tenants.models import Tenant


@contextmanager
def work(purpose: str) -> Iterator[None]:
    """Have the database up, Django loaded, and mistakes in what was asked for turned into one line."""
    from hub.cli import database
    from hub.env import env

    with database.working(env(), purpose=purpose), one_line():
        yield


def tenant(slug: str) -> "Tenant":
    """The tenant with this slug."""
    from tenants.context import ops_scope
    from tenants.models import Tenant

    with ops_scope("hub: which tenant a command names"):
        found = Tenant.objects.filter(slug=slug).select_related("plan").first()
    if found is None:
        raise CommandFailed("there is no tenant {slug!r}; see: hub tenant list", slug=slug)
    return found


def agent(of: "Tenant", name: str) -> "Agent":
    """The tenant's agent of this name; call it inside the tenant's scope."""
    from agents.models import Agent

    found: Agent | None = Agent.objects.filter(name=name).first()
    if found is None:
        raise CommandFailed(
            "tenant {slug!r} has no agent {name!r}; see: hub agent list --tenant {slug}", slug=of.slug, name=name
        )
    return found


def connection(of: "Tenant", named: str) -> "Connection":
    """The tenant's connection with this id, public id or name; call it inside the tenant's scope."""
    from django.db.models import Q

    from hub.models import Connection

    wanted = Q(public_id=named) | Q(name=named)
    if (ident := as_uuid(named)) is not None:
        wanted |= Q(id=ident)
    found: list[Connection] = list(Connection.objects.filter(wanted).order_by("id")[:2])
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandFailed("several connections are called {name!r}: give the id or the public id", name=named)
    raise CommandFailed(
        "tenant {slug!r} has no connection {name!r}; see: hub connection list --tenant {slug}", slug=of.slug, name=named
    )


def as_uuid(text: str) -> UUID | None:
    """The id that a text spells, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None


_NO_ID = {
    "session": marked("{text!r} is not the id of a session"),
    "delivery": marked("{text!r} is not the id of a delivery"),
    "subject": marked("{text!r} is not the id of a subject"),
}


def need_uuid(text: str, what: str) -> UUID:
    """The id that a text must spell."""
    found = as_uuid(text)
    if found is None:
        raise CommandFailed(_NO_ID[what], text=text)
    return found


def vault() -> "Vault":
    """The vault of this process's Django side: `load_sync` first."""
    from hub.pipeline.reading import vault as shared

    return shared()
