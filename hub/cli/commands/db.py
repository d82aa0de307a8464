"""`hub db`: what is done to a database once."""

import click

from hub.cli.helping import Group, examples
from hub.cli.output import Output, with_output
from hub.cli.words import _


@click.group(cls=Group, epilog=examples("hub db init --superuser-url postgresql://postgres@db.example.org/postgres"))
def command() -> None:
    """Prepare a database."""


@command.command(epilog=examples("hub db init", "hub db init --superuser-url postgresql://postgres@db/postgres"))
@click.option("--superuser-url", help="A role of a foreign cluster that may create roles and databases.")
@with_output
def init(output: Output, superuser_url: str | None) -> None:
    """Make the database and its roles; running it again repairs them."""
    from hub.cli import database
    from hub.env import env

    found = env()
    with database.available(found, purpose="hub db init"):
        database.initialise(found, superuser_dsn=superuser_url)
    name = database.database_name(found)
    output.result(
        {"database": name, "role_prefix": found.db_role_prefix},
        _(
            "database {name} and the roles {prefix}_* are ready; next: hub migrate",
            name=name,
            prefix=found.db_role_prefix,
        ),
    )
