"""`hub replay`: deliveries that died or whose outcome nobody knows."""

import click

from hub.cli import arguments, audit, lookup
from hub.cli.helping import Group, examples
from hub.cli.output import Output, with_output
from hub.cli.terminal import State, table
from hub.cli.words import _


@click.group(cls=Group, epilog=examples("hub replay list --tenant acme", "hub replay retry --all-dead --tenant acme"))
def command() -> None:
    """List dead and unknown deliveries, and send them again."""


@command.command("list", epilog=examples("hub replay list --tenant acme --status dead"))
@arguments.tenant
@click.option("--status", type=click.Choice(["dead", "unknown"]), help="Only these.")
@arguments.limit
@with_output
def list_(output: Output, slug: str, status: str | None, limit: int) -> None:
    """List what may be sent again, the newest first."""
    with lookup.work("hub replay list"):
        from hub import replay

        found = replay.waiting(lookup.tenant(slug).id, statuses=[status] if status else replay.REPLAYABLE, limit=limit)
    rows = [
        {
            "id": str(one.id),
            "session_id": str(one.session_id),
            "connection_id": str(one.connection_id),
            "status": str(one.status),
            "attempts": one.attempts,
            "detail": one.detail,
            "created": one.created.isoformat(),
        }
        for one in found
    ]
    lines = [(row["id"], State(str(row["status"])), row["attempts"], row["detail"]) for row in rows]
    heads = (_("DELIVERY"), _("STATUS"), _("TRIES"), _("DETAIL"))
    output.result({"deliveries": rows}, table(heads, lines, empty=_("nothing died and no outcome is unknown")))


@command.command(epilog=examples("hub replay retry 0199… --tenant acme"))
@click.argument("ids", nargs=-1)
@arguments.tenant
@click.option("--all-dead", is_flag=True, help="Everything dead instead of IDS; never the unknown.")
@with_output
def retry(output: Output, ids: tuple[str, ...], slug: str, all_dead: bool) -> None:  # noqa: FBT001 - click's flag
    """Send the deliveries IDS again. An unknown one may arrive twice."""
    from hub.cli.resending import send_again

    sent = send_again(slug, ids, all_dead=all_dead, by=audit.who())
    output.result({"replayed": sent}, _("{count} deliveries are due again", count=len(sent)))
