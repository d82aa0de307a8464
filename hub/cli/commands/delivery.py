"""`hub delivery`: replies on their way, and those that never arrived."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from hub.cli import arguments, audit, lookup
from hub.cli.helping import Group, examples
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import State, fields, table
from hub.cli.words import _

if TYPE_CHECKING:
    from uuid import UUID

    from hub.models import Delivery

STATUSES = ("pending", "sending", "live", "retry", "sent", "unknown", "dead", "skipped")
BATCH = 500


@click.group(
    cls=Group,
    epilog=examples(
        "hub delivery list --tenant acme --status dead",
        "hub delivery retry 0199… --tenant acme",
        "hub delivery retry --all-dead --tenant acme",
        "hub delivery purge --days 30 --tenant acme",
    ),
)
def command() -> None:
    """List deliveries, send them again, skip them, and purge dead ones."""


@command.command("list", epilog=examples("hub delivery list --tenant acme --status dead --status unknown"))
@arguments.tenant
@click.option(
    "--status", "statuses", type=click.Choice(STATUSES), multiple=True, help="Only these; repeat for several."
)
@click.option("--connection", "named", shell_complete=arguments.connections, help="Only this connection's.")
@click.option("--session", help="Only this conversation's.")
@arguments.limit
@with_output
def list_(
    output: Output, slug: str, statuses: tuple[str, ...], named: str | None, session: str | None, limit: int
) -> None:
    """List a tenant's deliveries, the newest first."""
    with lookup.work("hub delivery list"):
        from hub.models import Delivery
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            rows = Delivery.objects.order_by("-created", "-id").defer("address", "part")
            rows = rows.filter(status__in=statuses) if statuses else rows
            rows = rows.filter(session_id=lookup.need_uuid(session, "session")) if session else rows
            rows = rows.filter(connection_id=lookup.connection(tenant, named).id) if named else rows
            found = [_shown(one) for one in rows[:limit]]
    lines = [(one["id"], State(one["status"]), one["attempts"], one["created"][:19], one["detail"]) for one in found]
    heads = (_("DELIVERY"), _("STATUS"), _("TRIES"), _("MADE"), _("DETAIL"))
    output.result({"deliveries": found}, table(heads, lines, empty=_("none")))


@command.command(epilog=examples("hub delivery show 0199… --tenant acme"))
@click.argument("delivery")
@arguments.tenant
@with_output
def show(output: Output, delivery: str, slug: str) -> None:
    """Show one DELIVERY with what it carries, in the clear."""
    with lookup.work("hub delivery show"):
        from hub.models import Delivery
        from hub.pipeline.reading import delivery_part
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = Delivery.objects.filter(id=lookup.need_uuid(delivery, "delivery")).first()
            if found is None:
                raise CommandFailed("tenant {slug!r} has no delivery {id}", slug=slug, id=delivery)
            values = {**_shown(found), "part": delivery_part(found)}
    output.result(values, "\n".join(fields({**values, "status": State(values["status"])})))


@command.command(
    epilog=examples("hub delivery retry 0199… --tenant acme", "hub delivery retry --all-dead --tenant acme")
)
@click.argument("ids", nargs=-1)
@arguments.tenant
@click.option("--all-dead", is_flag=True, help="Everything dead instead of IDS; never the unknown.")
@with_output
def retry(output: Output, ids: tuple[str, ...], slug: str, all_dead: bool) -> None:  # noqa: FBT001 - click's flag
    """Send the deliveries IDS again, with the parts skipped after them. An unknown one may arrive twice."""
    from hub.cli.resending import send_again

    sent = send_again(slug, ids, all_dead=all_dead, by=audit.who())
    output.result({"replayed": sent}, _("{count} deliveries are due again", count=len(sent)))


@command.command(epilog=examples("hub delivery skip 0199… --tenant acme"))
@click.argument("ids", nargs=-1, required=True)
@arguments.tenant
@with_output
def skip(output: Output, ids: tuple[str, ...], slug: str) -> None:
    """Give up the waiting deliveries IDS, so that later parts of their conversations may go."""
    with lookup.work("hub delivery skip"):
        from hub.pipeline.operating import skip_delivery
        from tenants.context import tenant_scope

        wanted = [lookup.need_uuid(text, "delivery") for text in ids]
        with tenant_scope(lookup.tenant(slug).id):
            skipped = [str(one) for one in wanted if skip_delivery(one, by=audit.who())]
    if not skipped:
        raise CommandFailed("none of these deliveries waits")
    output.result({"skipped": skipped}, _("{count} deliveries are skipped", count=len(skipped)))


@command.command(
    epilog=examples("hub delivery purge --days 30 --tenant acme", "hub delivery purge --tenant acme --yes")
)
@arguments.tenant
@click.option("--days", type=click.IntRange(0, 3650), default=30, show_default=True, help="Only those older than this.")
@arguments.yes
@with_output
def purge(output: Output, slug: str, days: int, yes: bool) -> None:  # noqa: FBT001 - click's flag
    """Delete dead deliveries for good. The messages they belong to stay in their conversations."""
    with lookup.work("hub delivery purge"):
        from hub.models import Delivery
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        before = datetime.now(UTC) - timedelta(days=days)
        with tenant_scope(tenant.id):
            count = Delivery.objects.filter(status="dead", created__lt=before).count()
            if count:
                question = _("delete {count} dead deliveries of {slug} for good?", count=count, slug=slug)
                output.confirm(question, yes=yes)
        gone = _purge(tenant.id, before, days=days, output=output, total=count) if count else 0
    output.result({"purged": gone}, _("{count} dead deliveries are deleted", count=gone))


def _purge(tenant_id: "UUID", before: datetime, *, days: int, output: Output, total: int) -> int:
    """Batch by batch, so that no lock is held for long; the trail says who and how many."""
    from django.db import transaction

    from hub.models import Delivery
    from tenants.context import tenant_scope

    gone = 0
    with tenant_scope(tenant_id), output.bar(_("purge"), total=total) as step:
        while True:
            with transaction.atomic():
                page = Delivery.objects.filter(status="dead", created__lt=before).order_by("created")[:BATCH]
                deleted = Delivery.objects.filter(id__in=list(page.values_list("id", flat=True))).delete()[0]
                if not deleted:
                    return gone
                after = {"count": deleted, "older_than_days": days}
                audit.record(tenant_id, "delivery.purged", after=after, label=f"{deleted} dead deliveries")
            gone += deleted
            step(deleted)


def _shown(row: "Delivery") -> dict[str, Any]:
    return {
        "id": str(row.id),
        "session_id": str(row.session_id),
        "connection_id": str(row.connection_id),
        "turn_id": str(row.turn_id),
        "status": str(row.status),
        "attempts": row.attempts,
        "receipt": row.receipt,
        "platform_id": row.platform_id,
        "detail": row.detail,
        "created": row.created.isoformat(),
        "sent_at": row.sent_at.isoformat() if row.sent_at else None,
    }
