"""`hub run`: one role alone, for containers and service managers."""

import click

from hub.cli.roles import ROLES, become
from hub.env import env


@click.command()
@click.argument("role", type=click.Choice(list(ROLES)))
def command(role: str) -> None:
    """Run one ROLE in this process, with the database and Redis that the environment names.

    A gateway serves every door; a runner works on turns and deliveries; a worker does background tasks; beat sends
    them. Each answers /health/live, /health/ready and /metrics on PORT. Nothing is migrated or started besides.
    """
    become(role, env())
