"""`hub tenant`: the organisations on this hub."""

from typing import TYPE_CHECKING, Any

import click

from hub.cli import arguments, audit, lookup
from hub.cli.helping import Group, examples
from hub.cli.output import Output, with_output
from hub.cli.terminal import State, bold, paint, table
from hub.cli.words import _, told
from hub.phrase import marked

if TYPE_CHECKING:
    from tenants.models import Tenant


@click.group(
    cls=Group,
    epilog=examples(
        "hub tenant create acme --plan professional --zone Europe/Amsterdam",
        "hub tenant list",
        "hub tenant suspend acme",
    ),
)
def command() -> None:
    """Create, list, show, suspend and resume tenants, and change their plan."""


@command.command(
    epilog=examples("hub tenant create acme", 'hub tenant create acme --name "Acme Ltd" --language zh-hans')
)
@click.argument("slug")
@click.option("--plan", default="starter", show_default=True, help="What the tenant may use; see: hub plan list.")
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
        audit.record(made.id, "tenant.created", subject=made, after={"plan": given["plan"]})
        values = _shown(made)
    output.result(values, _("tenant {slug} is created; next: hub agent create NAME --tenant {slug}", slug=made.slug))


@command.command("list", epilog=examples("hub tenant list", "hub tenant list --json | jq -r '.tenants[].slug'"))
@with_output
def list_(output: Output) -> None:
    """List all tenants."""
    with lookup.work("hub tenant list"):
        from tenants.context import ops_scope
        from tenants.models import Tenant

        with ops_scope("hub tenant list"):
            found = [_shown(one) for one in Tenant.objects.select_related("plan").order_by("slug")]
    rows = [(one["slug"], one["plan"], State(one["status"]), one["name"]) for one in found]
    heads = (_("SLUG"), _("PLAN"), _("STATUS"), _("NAME"))
    output.result({"tenants": found}, table(heads, rows, empty=_("no tenants yet: hub tenant create SLUG")))


@command.command(epilog=examples("hub tenant show acme"))
@arguments.slug
@with_output
def show(output: Output, slug: str) -> None:
    """Show a tenant: its plan, its limits against use, and what it has."""
    with lookup.work("hub tenant show"):
        from agents.models import Agent
        from hub.cli.limits import standings
        from hub.models import Connection, Session
        from tenants.context import tenant_scope
        from tenants.models import ApiKey

        found = lookup.tenant(slug)
        with tenant_scope(found.id):
            has = {
                "agents": Agent.objects.count(),
                "connections": Connection.objects.count(),
                "sessions": Session.objects.count(),
                "keys": ApiKey.objects.filter(revoked_at=None).count(),
            }
        quotas = standings(found.id)
        own = {"zone": found.zone, "language": found.language, "suite": found.suite, "vectors": found.vectors}
        values = {**_shown(found), **own, **has}
    output.result({**values, "quotas": quotas}, _text(found, has, quotas))


def _text(tenant: "Tenant", has: dict[str, int], quotas: list[dict[str, Any]]) -> str:
    from hub.cli.limits import HEADS, limit_row

    status = paint(State(str(tenant.status)))
    sealed = _("sealed by {suite}, memory without vectors", suite=tenant.suite)
    if tenant.vectors:
        sealed = _("sealed by {suite}, memory with vectors", suite=tenant.suite)
    lines = [
        bold(_("{name} ({kind})", name=tenant.name, kind=tenant.slug)),
        "  " + _("{plan}, {status}, days begin in {zone}", plan=tenant.plan.slug, status=status, zone=tenant.zone),
        f"  {sealed}",
        "  " + _("{agents} agents, {connections} connections, {sessions} sessions, {keys} keys", **has),
        "",
        table([told(head) for head in HEADS], [limit_row(one) for one in quotas]),
    ]
    return "\n".join(lines)


@command.command(epilog=examples("hub tenant plan acme enterprise"))
@arguments.slug
@click.argument("plan")
@with_output
def plan(output: Output, slug: str, plan: str) -> None:
    """Move the tenant SLUG to another PLAN at once; exceptions and counts stay, nothing is deleted."""
    with lookup.work("hub tenant plan"):
        from django.db import transaction

        from tenants.context import tenant_scope
        from tenants.plans import change_plan

        found = lookup.tenant(slug)
        before = found.plan.slug
        with tenant_scope(found.id), transaction.atomic():
            change_plan(found, plan)
            audit.record(found.id, "tenant.plan_changed", subject=found, before={"plan": before}, after={"plan": plan})
        values = _shown(found)
    output.result(
        values, _("tenant {slug} has the plan {plan} now (it was {before})", slug=slug, plan=plan, before=before)
    )


@command.command(epilog=examples("hub tenant suspend acme --reason 'invoice 1742 is open'"))
@arguments.slug
@click.option("--reason", default="", help="Why; for the audit trail.")
@with_output
def suspend(output: Output, slug: str, reason: str) -> None:
    """Refuse a tenant's messages until it is resumed; nothing is deleted."""
    _change(output, slug, status="suspended", reason=reason)


@command.command(epilog=examples("hub tenant resume acme"))
@arguments.slug
@click.option("--reason", default="", help="Why; for the audit trail.")
@with_output
def resume(output: Output, slug: str, reason: str) -> None:
    """Take a suspended tenant's messages again."""
    _change(output, slug, status="active", reason=reason)


@command.command(epilog=examples("hub tenant vectors acme off"))
@arguments.slug
@click.argument("state", type=click.Choice(["on", "off"]))
@with_output
def vectors(output: Output, slug: str, state: str) -> None:
    """Let the memory of the tenant SLUG store vectors, or find by words alone.

    Vectors are the only part of memory that is not encrypted. With `off` those that are stored are removed; with `on`
    they are made again as memory grows.
    """
    with lookup.work("hub tenant vectors"):
        from django.db import transaction

        from tenants.context import tenant_scope

        found, wanted = lookup.tenant(slug), state == "on"
        with tenant_scope(found.id), transaction.atomic():
            before = found.vectors
            if before != wanted:
                found.vectors = wanted
                found.save(update_fields=["vectors"])
                was, now = {"vectors": before}, {"vectors": wanted}
                audit.record(found.id, "tenant.changed", subject=found, before=was, after=now)
        values = {**_shown(found), "vectors": wanted}
    done = _("the memory of tenant {slug} may store vectors", slug=slug)
    if not wanted:
        done = _(
            "the memory of tenant {slug} stores no vectors; what was stored is removed within ten minutes", slug=slug
        )
    output.result(values, done)


_CHANGED = {
    "suspended": marked("tenant {slug} is suspended; running processes follow within 5 seconds"),
    "active": marked("tenant {slug} is active; running processes follow within 5 seconds"),
}


def _change(output: Output, slug: str, *, status: str, reason: str) -> None:
    with lookup.work(f"hub tenant: {status}"):
        from tenants.audit import Actor
        from tenants.plans import set_status

        found = lookup.tenant(slug)
        set_status(found, status, actor=Actor(audit.who()), reason=reason)
        values = _shown(found)
    output.result(values, _(_CHANGED[status], slug=slug))


def _shown(tenant: "Tenant") -> dict[str, Any]:
    return {
        "id": str(tenant.id),
        "slug": tenant.slug,
        "name": tenant.name,
        "plan": tenant.plan.slug,
        "status": str(tenant.status),
    }
