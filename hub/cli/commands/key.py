"""`hub key`: API keys of tenants, and the keys that everything at rest is sealed under."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from hub.cli import arguments, audit, lookup
from hub.cli.helping import Group, examples
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import State, table
from hub.cli.words import Phrase, Words, _

if TYPE_CHECKING:
    from tenants.crypto import Vault
    from tenants.db.pools import Pools
    from tenants.models import ApiKey

T = TypeVar("T")
PURPOSES = ("content", "credentials", "memory")
DEFAULT_SCOPES = ("chat",)


@click.group(
    cls=Group,
    epilog=examples(
        "hub key create --tenant acme --scope chat --scope read --days 90",
        "hub key list --tenant acme",
        ("hub key rotate-master", "a new key over everything at rest"),
    ),
)
def command() -> None:
    """API keys, and rotation of the keys at rest."""


@command.command(epilog=examples("hub key create --tenant acme --scope chat --name website --days 365"))
@arguments.tenant
@click.option("--scope", "scopes", multiple=True, help="What it may do; repeat for several. Unless given: chat.")
@click.option("--agent", "agent_name", shell_complete=arguments.agents, help="Restrict it to one agent.")
@click.option("--name", default="", help="What it is for.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Days after which it ends.")
@with_output
def create(output: Output, slug: str, scopes: tuple[str, ...], agent_name: str | None, **given: object) -> None:
    """Make an API key. It is shown once and kept as a hash."""
    days = given["days"]
    with lookup.work("hub key create"):
        from django.db import transaction

        from tenants.context import tenant_scope
        from tenants.keys import issue

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            agent = lookup.agent(tenant, agent_name) if agent_name else None
        ends = datetime.now(UTC) + timedelta(days=days) if isinstance(days, int) else None
        with tenant_scope(tenant.id), transaction.atomic():
            made = issue(
                tenant.id,
                scopes=scopes or DEFAULT_SCOPES,
                name=str(given["name"]),
                agent_id=agent.id if agent else None,
                expires_at=ends,
            )
            after = {"scopes": sorted(set(scopes or DEFAULT_SCOPES)), "expires_at": ends}
            _note(tenant.id, "api_key.issued", made.id, label=str(given["name"]), after=after)
    values = {"id": str(made.id), "key": made.key, "scopes": sorted(set(scopes or DEFAULT_SCOPES))}
    output.result(values, f"{made.key}\n{_('(shown once; keep it)')}")


@command.command("list", epilog=examples("hub key list --tenant acme"))
@arguments.tenant
@with_output
def list_(output: Output, slug: str) -> None:
    """List a tenant's API keys, by what is shown of them."""
    with lookup.work("hub key list"):
        from tenants.context import tenant_scope
        from tenants.models import ApiKey

        with tenant_scope(lookup.tenant(slug).id):
            found = [_shown(one) for one in ApiKey.objects.order_by("id")]
    rows = [
        (one["key"], one["name"], State(one["state"]), " ".join(one["scopes"]), _moment(one["last_used_at"]))
        for one in found
    ]
    heads = (_("KEY"), _("NAME"), _("STATE"), _("SCOPES"), _("LAST USED"))
    empty = _("no keys yet: hub key create --tenant {slug}", slug=slug)
    output.result({"keys": found}, table(heads, rows, empty=empty))


def _moment(text: str | None) -> Words:
    return text[:19] if text else Phrase("never")


@command.command(epilog=examples("hub key revoke Ab3dE6gH --tenant acme"))
@click.argument("named")
@arguments.tenant
@with_output
def revoke(output: Output, named: str, slug: str) -> None:
    """End the key NAMED by its id or by the prefix that `list` shows."""
    with lookup.work("hub key revoke"):
        from django.db import transaction

        from tenants.context import tenant_scope
        from tenants.keys import revoke as end
        from tenants.models import ApiKey

        tenant = lookup.tenant(slug)
        ident = lookup.as_uuid(named)
        prefix = named.removeprefix("hub_").removesuffix("_…").split("_", 1)[0]
        with tenant_scope(tenant.id):
            found = ApiKey.objects.filter(**({"id": ident} if ident else {"prefix": prefix})).first()
        if found is None:
            raise CommandFailed(
                "tenant {slug!r} has no key {key!r}; see: hub key list --tenant {slug}", slug=slug, key=prefix
            )
        with tenant_scope(tenant.id), transaction.atomic():
            ended = end(tenant.id, found.id)
            if ended:
                _note(tenant.id, "api_key.revoked", found.id, label=found.name)
    values = {"id": str(found.id), "revoked": True, "was_valid": ended}
    output.result(values, _("key {key} is revoked; it stops working within 5 seconds", key=f"hub_{found.prefix}_…"))


def _note(tenant_id: UUID, action: str, key_id: UUID, *, label: str, after: Mapping[str, Any] | None = None) -> None:
    """An entry in the audit trail: what may be done with the key, never the key."""
    from tenants.context import tenant_scope
    from tenants.models import ApiKey

    with tenant_scope(tenant_id):
        audit.record(tenant_id, action, subject=ApiKey.objects.get(id=key_id), label=label, after=after)


@command.command("rotate-master", epilog=examples("hub key rotate-master"))
@with_output
def rotate_master(output: Output) -> None:
    """Bring every tenant's keys under the newest master key.

    An embedded hub must be stopped and gets a new key by itself. With HUB_MASTER_KEY: first give every process
    `new,old` and restart it, then run this, then take the old one away.
    """
    from hub.env import env

    if env().master_key is None:
        _rotate_embedded(output)
        return
    with lookup.work("hub key rotate-master"):
        count = asyncio.run(_with_pools(_rewrap))
    old = len(env().master_keys()) - 1
    done = _("{count} data keys rewrapped; HUB_MASTER_KEY may now hold the first key alone", count=count)
    if not old:
        done = _("{count} data keys rewrapped; HUB_MASTER_KEY holds one key only: no change", count=count)
    output.result({"rewrapped": count, "old_keys": old}, done)


def _rotate_embedded(output: Output) -> None:
    from hub.embedded import folders
    from hub.embedded.masterkey import existing_master_keys, replace_master_keys
    from hub.env import env

    layout = env().layout
    if (held := folders.holder(layout)) is not None:
        raise CommandFailed(
            "{purpose} (process {pid}) reads with the present key: stop it first", purpose=Phrase(held[1]), pid=held[0]
        )
    with lookup.work("hub key rotate-master"):
        # Interrupted earlier, the file still has two keys: finish that change instead of adding a third.
        known = existing_master_keys(layout) or env().master_keys()
        if len(known) == 1:
            replace_master_keys(layout, secrets.token_bytes(32), *known)
        count = asyncio.run(_with_pools(_rewrap))
        replace_master_keys(layout, existing_master_keys(layout)[0])
    done = _("{count} data keys rewrapped under a new {file}", count=count, file=layout.master_key_file)
    output.result({"rewrapped": count, "old_keys": 0}, done)


async def _rewrap(pools: "Pools", vault: "Vault") -> int:
    from tenants.crypto.rotation import rotate_master as rewrap_all

    return await rewrap_all(pools, vault.master)


@command.command(epilog=examples("hub key rotate --tenant acme --purpose content"))
@arguments.tenant
@click.option("--purpose", type=click.Choice(PURPOSES), default="content", show_default=True, help="What it seals.")
@with_output
def rotate(output: Output, slug: str, purpose: str) -> None:
    """Give a tenant a new data key; new rows use it after a minute. Then run `hub key reseal`."""
    with lookup.work("hub key rotate"):
        from tenants.crypto.rotation import rotate_tenant

        tenant = lookup.tenant(slug)
        key_id = asyncio.run(_with_pools(lambda pools, vault: rotate_tenant(pools, vault, tenant.id, purpose)))  # type: ignore[arg-type]  # click.Choice checked it
    done = _(
        "a new key for {purpose} is used in 60 seconds; then: hub key reseal --tenant {slug} --purpose {purpose}",
        purpose=purpose,
        slug=slug,
    )
    output.result({"tenant": slug, "purpose": purpose, "key_id": str(key_id)}, done)


@command.command(epilog=examples("hub key reseal --tenant acme --purpose content"))
@arguments.tenant
@click.option("--purpose", type=click.Choice(PURPOSES), default="content", show_default=True, help="What it seals.")
@with_output
def reseal(output: Output, slug: str, purpose: str) -> None:
    """Seal a tenant's old rows again under its newest key; may be interrupted and run again."""
    with lookup.work("hub key reseal"):
        from tenants.crypto.rotation import reseal as seal_again

        tenant = lookup.tenant(slug)
        count = asyncio.run(_with_pools(lambda pools, vault: seal_again(pools, vault, tenant.id, purpose)))  # type: ignore[arg-type]  # click.Choice checked it
    output.result({"tenant": slug, "purpose": purpose, "cells": count}, _("{count} cells sealed again", count=count))


async def _with_pools(work: "Callable[[Pools, Vault], Awaitable[T]]") -> T:
    """Do asynchronous work as a hub process would, with pools of its own."""
    from hub.cli.probing import opened_pools

    async with opened_pools() as (pools, vault):
        return await work(pools, vault)


def _shown(row: "ApiKey") -> dict[str, Any]:
    ended = row.expires_at is not None and row.expires_at <= datetime.now(UTC)
    return {
        "id": str(row.id),
        "key": str(row),
        "name": row.name,
        "scopes": row.scopes,
        "agent_id": str(row.agent_id) if row.agent_id else None,
        "state": "revoked" if row.revoked_at else "expired" if ended else "valid",
        "created_at": row.created_at.isoformat(),
        "last_used_at": row.last_used_at.isoformat() if row.last_used_at else None,
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
    }
