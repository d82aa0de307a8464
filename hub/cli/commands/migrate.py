"""`hub migrate`: bring the schema up to date."""

import click

from hub.cli import database
from hub.cli.output import Output, with_output
from hub.env import env


@click.command()
@with_output
def command(output: Output) -> None:
    """Bring the database schema up to date, as its owner."""
    found = env()
    with database.available(found, purpose="hub migrate"):
        if found.embedded_postgres:
            database.initialise(found)
        applied = database.pending(found)
        if applied:
            database.migrate(found)
    text = f"{len(applied)} migrations applied" if applied else "the schema is up to date"
    output.result({"applied": applied}, text)
