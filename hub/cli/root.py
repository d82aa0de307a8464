"""Finds the commands and turns what can go wrong into one clear line and an exit code.

Each module in `hub/cli/commands` is one command: a click command named `command`, imported only when it is asked for.
"""

import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import click
import psycopg

from hub.cli import commands
from hub.cli.output import CommandFailed
from hub.embedded import EmbeddedError
from hub.env import EnvError, env
from tenants.db.roles import LoginRefused

EXIT_FAILED = 1
EXIT_ENVIRONMENT = 2


class Commands(click.Group):
    """The modules of `hub/cli/commands`, loaded one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """As click's."""
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """As click's."""
        if cmd_name not in self.list_commands(ctx):
            return None
        found = import_module(f"hub.cli.commands.{cmd_name}").command
        if not isinstance(found, click.Command):
            raise TypeError(f"hub/cli/commands/{cmd_name}.py: `command` is no click command")
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="agent-hub", prog_name="hub")
def cli() -> None:
    """A durable hub between messaging channels and AI agents."""
    env()


def run() -> None:
    """The console script."""
    with guarded():
        try:
            cli(standalone_mode=False)
        except click.exceptions.Exit as done:
            sys.exit(done.exit_code)
        except click.Abort:
            sys.exit(130)
        except click.ClickException as wrong:
            wrong.show()
            sys.exit(EXIT_ENVIRONMENT)


@contextmanager
def guarded() -> Iterator[None]:
    """End the process with one clear line and an exit code where the block meets something a person can mend."""
    try:
        yield
    except EnvError as wrong:
        click.echo("hub: these variables are wrong or missing:", err=True)
        for problem in wrong.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(EXIT_ENVIRONMENT)
    except (CommandFailed, EmbeddedError, LoginRefused) as wrong:
        _fail(str(wrong))
    except psycopg.OperationalError as wrong:
        _fail(f"the database cannot be reached: {wrong}")


def _fail(message: str) -> None:
    click.echo(f"hub: {' '.join(message.split())}", err=True)
    sys.exit(EXIT_FAILED)
