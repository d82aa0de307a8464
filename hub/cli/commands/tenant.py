"""`hub tenant`: the organisations on this hub."""

from typing import TYPE_CHECKING

import click

from hub.cli import lookup
from hub.cli.output import Output, with_output

if TYPE_CHECKING:
    from tenants.models import Tenant


@click.group()
def command() -> None:
    """Create, list, suspend and resume tenants."""


@command.command()
@click.argument("slug")
@click.option("--plan", default="starter", show_default=True, help="What the tenant may use.")
@click.option("--name", default="", help="The name people see; the slug unless given.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone in which its days of quota begin.")
@click.option("--language", default="en", show_default=True, help="Language of the hub's own words to its people.")
@click.option(
    "--suite",
    type=click.Choice(["aes256gcm", "sm4gcm"]),
    default="aes256gcm",
    show_default=True,
    help="Algorithms that seal its content.",
)
@with_output
def create(output: Output, **given: str) -> None:
    """Create the tenant SLUG."""
    with lookup.work("hub tenant create"):
        from tenants.plans import create_tenant

        made = create_tenant(
            given["slug"],
            given["name"] or given["slug"],
            plan=given["plan"],
            zone=given["zone"],
            suite=given["suite"],
            language=given["language"],
        )
        values = _shown(made)
    output.result(values, f"tenant {made.slug} is created; next: hub agent create NAME --tenant {made.slug}")


@command.command("list")
@with_output
def list_(output: Output) -> None:
    """List all tenants."""
    with lookup.work("hub tenant list"):
        from tenants.context import ops_scope
        from tenants.models import Tenant

        with ops_scope("hub tenant list"):
            found = [_shown(one) for one in Tenant.objects.select_related("plan").order_by("slug")]
    lines = [f"{one['slug']:<24} {one['plan']:<14} {one['status']:<10} {one['name']}" for one in found]
    output.result({"tenants": found}, "\n".join(lines) or "no tenants yet: hub tenant create SLUG")


@command.command()
@click.argument("slug")
@with_output
def suspend(output: Output, slug: str) -> None:
    """Refuse a tenant's messages until it is resumed; nothing is deleted."""
    _change(output, slug, status="suspended")


@command.command()
@click.argument("slug")
@with_output
def resume(output: Output, slug: str) -> None:
    """Take a suspended tenant's messages again."""
    _change(output, slug, status="active")


def _change(output: Output, slug: str, *, status: str) -> None:
    with lookup.work(f"hub tenant: {status}"):
        from tenants.audit import Actor
        from tenants.plans import set_status

        found = lookup.tenant(slug)
        set_status(found, status, actor=Actor("hub tenant"))
        values = _shown(found)
    output.result(values, f"tenant {slug} is {status}")


def _shown(tenant: "Tenant") -> dict[str, object]:
    return {
        "id": str(tenant.id),
        "slug": tenant.slug,
        "name": tenant.name,
        "plan": tenant.plan.slug,
        "status": tenant.status,
    }
