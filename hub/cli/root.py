"""Finds the commands and turns what can go wrong into one clear line and an exit code.

Each module in `hub/cli/commands` is one command: a click command named `command`, imported only when it is asked for,
so that help and completion answer at once. What help lists is therefore written here.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import click

from hub.cli.helping import Group, examples
from hub.cli.language import speak
from hub.cli.output import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_UNREACHABLE, EXIT_USAGE, CommandFailed, without_colour
from hub.cli.terminal import pad
from hub.cli.words import Phrase, Words, _, told
from hub.phrase import Told

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Run it": {
        "up": "Start the hub and keep it running until Ctrl-C.",
        "run": "Run one role alone, for containers.",
        "status": "What runs: processes, queues, lag.",
        "doctor": "Check everything and say what to do.",
        "chat": "Talk to an agent from the terminal.",
    },
    "Set it up": {
        "tenant": "Organisations: create, list, plan, suspend, resume.",
        "plan": "Plans: what a class of tenants may use.",
        "quota": "Limits against use of one tenant; exceptions.",
        "agent": "Who answers: create, change, list, show, test.",
        "connection": "Accounts on channels: create, change, test, pause.",
        "key": "API keys, and the keys at rest.",
    },
    "Look and mend": {
        "session": "Conversations and their transcripts.",
        "delivery": "Replies on their way: list, retry, purge.",
        "replay": "Send again what died or is unknown.",
        "memory": "What is remembered: show, export, erase.",
    },
    "Take care": {
        "backup": "Save everything into one file, under load.",
        "restore": "Bring a backup into a fresh data folder.",
        "migrate": "Bring the database schema up to date.",
        "db": "Prepare a database and its roles.",
        "completion": "Completion for bash, zsh or fish.",
    },
}
"""What `hub --help` lists, in this order: a module of `hub/cli/commands` by its name, and its line of help."""


class Commands(Group):
    """The modules of `hub/cli/commands`, loaded one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """As click's."""
        return sorted(name for section in SECTIONS.values() for name in section)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """As click's."""
        if cmd_name not in self.list_commands(ctx):
            return None
        found = import_module(f"hub.cli.commands.{cmd_name}").command
        if not isinstance(found, click.Command):
            raise TypeError(f"hub/cli/commands/{cmd_name}.py: `command` is no click command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The sections, from the table: no command is loaded for it."""
        for title, names in SECTIONS.items():
            with formatter.section(_(title)):
                formatter.write_dl([(pad(name, 11), _(line)) for name, line in names.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """The commands from the table; options as click's."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        lines = {name: line for section in SECTIONS.values() for name, line in section.items()}
        return [CompletionItem(name, help=_(line)) for name, line in lines.items() if name.startswith(incomplete)]


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        ("hub up", "everything on this machine, at once"),
        ("hub doctor", "what is wrong, and what to do"),
        ("hub tenant create acme", "the first steps of an own tenant"),
        ("hub COMMAND --help", "every command has examples"),
    ),
)
@click.version_option(
    package_name="agent-hub", prog_name="hub", message="%(prog)s %(version)s", help="Show the version and exit."
)
@without_colour
@click.option("--no-color-variable", envvar="NO_COLOR", hidden=True, default="")
@click.pass_context
def cli(ctx: click.Context, no_color_variable: str) -> None:
    """A durable hub between messaging channels and AI agents.

    Settings are environment variables (docs/configuration.md); exit codes are in docs/cli.md.
    """
    if no_color_variable:
        ctx.color = False


def run() -> None:
    """The console script."""
    speak()
    with guarded():
        try:
            cli(standalone_mode=False, prog_name="hub")
        except click.exceptions.Exit as done:
            sys.exit(done.exit_code)
        except click.Abort:
            click.echo(err=True)
            sys.exit(EXIT_INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError as unfinished:
            click.echo(unfinished.format_message(), err=True)
            sys.exit(EXIT_USAGE)
        except click.ClickException as wrong:
            _fail(_usage(wrong), EXIT_USAGE)


@contextmanager
def guarded() -> Iterator[None]:
    """End the process with one clear line and an exit code where the block meets something a person can mend."""
    try:
        yield
    except Exception as wrong:  # the kinds that can be explained are imported only when there is something to explain
        found = _explained(wrong)
        if found is None:
            raise
        _fail(*found)


def _usage(wrong: click.ClickException) -> str:
    """What click found, and where the right way is written."""
    context = getattr(wrong, "ctx", None)
    path = context.command_path if context is not None else "hub"
    return _("{wrong}; see: {path} --help", wrong=wrong.format_message().rstrip(".。"), path=path)


def _explained(wrong: Exception) -> tuple[Words, int] | None:
    """One line and an exit code, or None for what nobody foresaw."""
    if isinstance(wrong, Told):
        return wrong.phrase, wrong.code if isinstance(wrong, CommandFailed) else EXIT_FAILED
    import psycopg
    import redis

    from hub.cli import refusals
    from hub.env import EnvError
    from tenants.db.roles import LoginRefused

    if isinstance(wrong, EnvError):
        problems = tuple(Phrase("{name}: {reason}", name=name, reason=reason) for name, reason in wrong.faults)
        return Phrase("these variables are wrong or missing: {problems}", problems=problems), EXIT_USAGE
    if isinstance(wrong, LoginRefused):
        return refusals.login(wrong), EXIT_FAILED
    if isinstance(wrong, redis.ConnectionError):
        return Phrase("Redis cannot be reached: {reason}", reason=wrong), EXIT_UNREACHABLE
    if isinstance(wrong, OSError) and wrong.filename is not None:
        return f"{wrong.filename}: {wrong.strerror}", EXIT_FAILED
    if isinstance(wrong, psycopg.OperationalError) or _is_django_operational(wrong):
        return Phrase("the database cannot be reached: {reason}", reason=wrong), EXIT_UNREACHABLE
    return None


def _is_django_operational(wrong: Exception) -> bool:
    module = sys.modules.get("django.db.utils")
    return module is not None and isinstance(wrong, module.OperationalError)


def _fail(message: Words, code: int) -> None:
    click.echo(f"{click.style('hub:', fg='red')} {' '.join(told(message).split())}", err=True)
    sys.exit(code)
