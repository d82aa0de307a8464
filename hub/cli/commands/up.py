"""`hub up`: start everything."""

import asyncio

import click

from hub.cli.output import Output, with_output
from hub.cli.supervisor import Supervisor
from hub.env import env
from hub.settings.logs import configure


@click.command()
@with_output
def command(output: Output) -> None:
    """Start the hub with everything it needs and keep it running until Ctrl-C."""
    found = env()
    configure(level=found.log_level, form=found.log_format)
    asyncio.run(_up(output))


async def _up(output: Output) -> None:
    await Supervisor(env(), output=output).run()
