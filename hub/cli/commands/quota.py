"""`hub quota`: one tenant's limits against use, and its exceptions from the plan."""

import click

from hub.cli import arguments, audit, lookup
from hub.cli.helping import Group, examples
from hub.cli.limits import HEADS, UNLIMITED, limit, limit_row, standings
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import table
from hub.cli.words import _, told


@click.group(
    cls=Group,
    epilog=examples(
        "hub quota list --tenant acme",
        "hub quota set tokens_per_day 2000000 --tenant acme",
        "hub quota set sessions unlimited --tenant acme",
        "hub quota reset sessions --tenant acme",
    ),
)
def command() -> None:
    """Show limits against use, and let one tenant differ from its plan."""


@command.command("list", epilog=examples("hub quota list --tenant acme"))
@arguments.tenant
@with_output
def list_(output: Output, slug: str) -> None:
    """List a tenant's limits against use."""
    with lookup.work("hub quota list"):
        found = standings(lookup.tenant(slug).id)
    rows = [limit_row(one) for one in found]
    output.result({"tenant": slug, "quotas": found}, table([told(head) for head in HEADS], rows))


@command.command("set", epilog=examples("hub quota set tokens_per_day 2000000 --tenant acme"))
@click.argument("metric")
@click.argument("value")
@arguments.tenant
@with_output
def set_(output: Output, metric: str, value: str, slug: str) -> None:
    """Set an exception: the tenant's limit of METRIC is VALUE (a number, or `unlimited`) whatever its plan says."""
    _change(output, slug, metric, _number(value))


@command.command(epilog=examples("hub quota reset tokens_per_day --tenant acme"))
@click.argument("metric")
@arguments.tenant
@with_output
def reset(output: Output, metric: str, slug: str) -> None:
    """Take an exception back: the tenant's limit of METRIC is its plan's again."""
    _change(output, slug, metric, None)


def _number(text: str) -> int:
    if text == "unlimited":
        return UNLIMITED
    if not text.replace("_", "").isdecimal():
        raise CommandFailed("{text!r} is neither a number nor `unlimited`", text=text)
    return int(text)


def _change(output: Output, slug: str, metric: str, value: int | None) -> None:
    with lookup.work("hub quota"):
        from django.db import transaction

        from tenants.context import tenant_scope
        from tenants.quotas import override

        tenant = lookup.tenant(slug)
        before = next((one for one in standings(tenant.id) if one["metric"] == metric), None)
        if before is None:
            raise CommandFailed(
                "there is no limit {metric!r}; see: hub quota list --tenant {slug}", metric=metric, slug=slug
            )
        with tenant_scope(tenant.id), transaction.atomic():
            override(tenant.id, metric, value)
            audit.record(
                tenant.id,
                "quota.changed",
                subject=tenant,
                before={metric: before["override"]},
                after={metric: value},
            )
        after = next(one for one in standings(tenant.id) if one["metric"] == metric)
    limits = {"before": limit(before["limit"]), "after": limit(after["limit"])}
    done = _("{metric} of {slug}: {before} → {after}", metric=metric, slug=slug, **limits)
    output.result({"tenant": slug, **after}, done)
