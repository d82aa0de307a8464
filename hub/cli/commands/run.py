"""`hub run`: one role alone, for containers and service managers."""

import click

from hub.cli.helping import Command, examples
from hub.cli.output import Output, with_output
from hub.cli.roles import ROLES, become, prepare
from hub.cli.words import _


@click.command(
    cls=Command, epilog=examples("HUB_BIND=0.0.0.0 PORT=8000 hub run gateway", "HUB_WORKERS=4 hub run worker")
)
@click.argument("role", type=click.Choice(ROLES))
@with_output
def command(output: Output, role: str) -> None:
    """Run one ROLE in this process, with the database and Redis that the environment names.

    A gateway serves every door; a runner works on turns and deliveries; a worker does background tasks; beat sends
    them. Each answers /health/live, /health/ready and /metrics on PORT. Nothing is migrated or started besides.
    """
    from hub.env import env

    found = env()
    start = prepare(role, found)
    address = f"{found.bind}:{start.port}"
    output.result({"role": role, "address": address}, _("{role} on {address}", role=role, address=address))
    become(start)
