"""`hub replay`: deliveries that died or whose outcome nobody knows."""

import click

from hub.cli import lookup
from hub.cli.output import CommandFailed, Output, with_output


@click.group()
def command() -> None:
    """List dead and unknown deliveries, and send them again."""


@command.command("list")
@click.option("--tenant", "slug", required=True)
@click.option("--status", type=click.Choice(["dead", "unknown"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
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
    lines = [f"{row['id']}  {row['status']:<8} {row['attempts']} attempts  {row['detail']}" for row in rows]
    output.result({"deliveries": rows}, "\n".join(lines) or "nothing died and no outcome is unknown")


@command.command()
@click.argument("ids", nargs=-1)
@click.option("--tenant", "slug", required=True)
@click.option("--all-dead", is_flag=True, help="Everything dead instead of IDS; never the unknown.")
@with_output
def retry(output: Output, ids: tuple[str, ...], slug: str, all_dead: bool) -> None:  # noqa: FBT001 - click's flag
    """Send the deliveries IDS again. An unknown one may arrive twice."""
    if bool(ids) == all_dead:
        raise CommandFailed("name the deliveries, or give --all-dead")
    with lookup.work("hub replay retry"):
        from hub import replay

        tenant = lookup.tenant(slug)
        chosen = (
            [one.id for one in replay.waiting(tenant.id, statuses=["dead"], limit=replay.MOST)]
            if all_dead
            else [lookup.need_uuid(text, "delivery") for text in ids]
        )
        sent = replay.replay(tenant.id, chosen, by="hub replay")
    if ids and not sent:
        raise CommandFailed("none of these deliveries is dead or unknown")
    output.result({"replayed": [str(one) for one in sent]}, f"{len(sent)} deliveries are due again")
