"""`hub migrate`: bring the schema up to date."""

import click

from hub.cli.helping import Command, examples
from hub.cli.output import Output, with_output
from hub.cli.terminal import fields
from hub.cli.words import _


@click.command(
    cls=Command,
    epilog=examples("hub migrate", ("hub migrate --demo", "also a tenant to play with and an administrator")),
)
@click.option("--demo", is_flag=True, help="Also make the demo tenant and the first administrator.")
@with_output
def command(output: Output, demo: bool) -> None:  # noqa: FBT001 - click's flag
    """Bring the database schema up to date, as its owner."""
    from hub.cli import database
    from hub.env import env

    found = env()
    seeded: dict[str, str] = {}
    with database.available(found, purpose="hub migrate"):
        if found.embedded_postgres:
            database.initialise(found)
        applied = database.pending(found)
        if applied:
            database.migrate(found)
        if demo:
            from hub.seed import seed_demo

            seeded = seed_demo()
    done = _("{count} migrations applied", count=len(applied)) if applied else _("the schema is up to date")
    lines = [done, *fields(seeded)]
    output.result({"applied": applied, **({"demo": seeded} if demo else {})}, "\n".join(lines))
