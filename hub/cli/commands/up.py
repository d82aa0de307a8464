"""`hub up`: start everything."""

import asyncio

import click

from hub.cli.helping import Command, examples
from hub.cli.output import Output, with_output


@click.command(
    cls=Command,
    epilog=examples(
        "hub up",
        "PORT=8080 HUB_BIND=0.0.0.0 hub up",
        "HUB_LLM_BASE_URL=https://… HUB_LLM_API_KEY=… HUB_LLM_MODEL=… hub up",
        ("HUB_ROLE=worker hub up", "one part of a hub that is spread over machines"),
    ),
)
@with_output
def command(output: Output) -> None:
    """Start the hub with everything it needs and keep it running until Ctrl-C."""
    from hub.env import env
    from hub.settings.logs import configure

    found = env()
    configure(level=found.log_level, form=found.log_format)
    asyncio.run(_up(output))


async def _up(output: Output) -> None:
    from hub.cli.supervisor import Supervisor
    from hub.env import env

    await Supervisor(env(), output=output).run()
