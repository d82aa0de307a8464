"""`hub plan`: what classes of tenants may use."""

from typing import Any

import click

from hub.cli import lookup
from hub.cli.helping import Group, examples
from hub.cli.limits import limit
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import table
from hub.cli.words import _


@click.group(cls=Group, epilog=examples("hub plan list", "hub plan show professional"))
def command() -> None:
    """List and show plans. They are made by migrations and in the console; `hub tenant plan` moves a tenant."""


@command.command("list", epilog=examples("hub plan list"))
@with_output
def list_(output: Output) -> None:
    """List the plans with their limits."""
    found = _plans()
    metrics = sorted({metric for one in found for metric in one["limits"]})
    rows = [(one["slug"], one["name"], *(limit(one["limits"].get(metric, -1)) for metric in metrics)) for one in found]
    output.result({"plans": found}, table((_("PLAN"), _("NAME"), *(name.upper() for name in metrics)), rows))


@command.command(epilog=examples("hub plan show starter"))
@click.argument("slug")
@with_output
def show(output: Output, slug: str) -> None:
    """Show the plan SLUG: each limit, and the models its tenants may use."""
    found = next((one for one in _plans() if one["slug"] == slug), None)
    if found is None:
        raise CommandFailed("there is no plan {slug!r}; see: hub plan list", slug=slug)
    rows = [(metric, limit(value)) for metric, value in found["limits"].items()]
    models = ", ".join(found["allowed_models"]) or _("any")
    head = _("{name} ({slug}); models: {models}", name=found["name"], slug=slug, models=models)
    output.result(found, f"{head}\n\n{table((_('LIMIT'), _('VALUE')), rows)}")


def _plans() -> list[dict[str, Any]]:
    with lookup.work("hub plan"):
        from tenants.models import Plan

        return [
            {
                "slug": one.slug,
                "name": one.name,
                "allowed_models": list(one.allowed_models),
                "limits": {quota.metric: quota.limit_value for quota in one.quotas.order_by("metric")},
            }
            for one in Plan.objects.order_by("id").prefetch_related("quotas")
        ]
