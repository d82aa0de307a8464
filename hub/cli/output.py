"""What a command prints: lines for people, or one JSON object for programs; and the codes it ends with."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from hub.cli.words import Phrase
from hub.phrase import Told

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130
EXITS: Mapping[int, Phrase] = {
    0: Phrase("It is done. `hub doctor`: nothing has to be done."),
    EXIT_FAILED: Phrase(
        "It could not be done; one line on standard error says why. `hub doctor`: something has to be done."
    ),
    EXIT_USAGE: Phrase("The command line or the environment is wrong; nothing was begun."),
    EXIT_UNREACHABLE: Phrase("The hub, its database or its Redis does not answer: the same command may work later."),
    EXIT_INTERRUPTED: Phrase("Ctrl-C, or a question was answered with no."),
}
"""Every code the command ends with; `docs/cli.md` is written from it."""

F = TypeVar("F", bound=Callable[..., Any])
Advance = Callable[[int], None]


class CommandFailed(Told, RuntimeError):
    """The command could not do its work; the message is one line with what to do."""

    code = EXIT_FAILED


class Unreachable(CommandFailed):
    """Something that has to run does not answer; the same command may work later."""

    code = EXIT_UNREACHABLE


class Output:
    """Collects nothing and prints once: text for people, or the object as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, values: Mapping[str, object], text: str) -> None:
        """The command's result in both forms. A phrase among the values stays English, whatever a person reads."""
        click.echo(json.dumps(values, ensure_ascii=False, default=str) if self.as_json else text)

    def progress(self, text: str) -> None:
        """A line for people on the way; programs get none."""
        if not self.as_json:
            click.echo(text)

    @contextmanager
    def bar(self, label: str, *, total: int) -> Iterator[Advance]:
        """A progress bar on standard error while the block runs, on a terminal only; call what it gives with steps."""
        if self.as_json or total <= 0 or not sys.stderr.isatty():
            yield lambda _: None
            return
        with click.progressbar(length=total, label=label, file=sys.stderr, show_eta=True) as shown:
            yield shown.update

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before harm. A program cannot be asked and has to say --yes; a person's no ends the command."""
        if yes:
            return
        if self.as_json:
            raise CommandFailed("this cannot be undone: say --yes")
        click.confirm(question, abort=True)


def with_output(function: F) -> F:
    """Give a click command the options `--json` and `--no-color`, and its function an `output` argument."""

    def convert(_ctx: click.Context, _param: click.Parameter, value: object) -> Output:
        return Output(as_json=bool(value))

    shown = click.option("--json", "output", is_flag=True, callback=convert, help="Print one JSON object.")
    return shown(without_colour(function))


def without_colour(function: F) -> F:
    """Give a click command the option `--no-color`; the variable NO_COLOR (https://no-color.org) says the same."""

    def convert(ctx: click.Context, _param: click.Parameter, value: object) -> None:
        if value:
            ctx.color = False

    return click.option(
        "--no-color", is_flag=True, expose_value=False, is_eager=True, callback=convert, help="No colours."
    )(function)
