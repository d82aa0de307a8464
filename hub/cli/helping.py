"""Commands whose help is in the language of whoever asks.

What a command says of itself stands in the source as click wants it: docstrings, `help=` and `examples`. It becomes
another language only where it is shown, so that commands need not know of languages, and one table serves both.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from hub.cli.layout import Formatter
from hub.cli.terminal import columns, pad
from hub.cli.words import _

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

HELP_OPTION = "Show this message and exit."
USAGE = ("[OPTIONS]", "COMMAND [ARGS]...")
"""What a line of usage says that is no name."""
_ASIDE = 3
"""Columns between a command of an example and what is said of it."""


class Context(click.Context):
    """Help by columns."""

    formatter_class = Formatter


def examples(*lines: str | tuple[str, str]) -> str:
    """The end of a command's help: how it is used, and of some lines what they do."""
    return "\n".join(line if isinstance(line, str) else "\t".join(line) for line in lines)


def paragraphs(text: str) -> list[str]:
    """A docstring's paragraphs, each in one line: what is translated as a whole."""
    return [" ".join(one.split()) for one in re.split(r"\n\s*\n", text.strip())]


class _Spoken(click.Command):
    """What a command and a group of commands have in common."""

    context_class = Context

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """As click's, in the language of the source: click keeps it for the next time."""
        found = super().get_help_option(ctx)
        if found is not None:
            found.help = HELP_OPTION
        return found

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence, or what stands before its first semicolon where there is no room for more."""
        first = re.split(r"(?<=\.)\s|。", _(paragraphs(self.help or "")[0]))[0]
        if columns(first) <= limit:
            return first
        return re.sub(r";\s.*", ".", first).partition("；")[0]

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """As click's; names of arguments are the same in every language."""
        return [_(piece) if piece in USAGE else piece for piece in super().collect_usage_pieces(ctx)]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """As click's."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text("\n\n".join(_(one) for one in paragraphs(self.help or "")))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's."""
        with formatter.section(_("Options")):
            formatter.write_dl(list(self._option_lines(ctx)))
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def _option_lines(self, ctx: click.Context) -> Iterator[tuple[str, str]]:
        for one in self.get_params(ctx):
            if isinstance(one, click.Option) and (record := one.get_help_record(ctx)) is not None:
                said = one.help or ""
                rest = record[1].removeprefix(said)  # in brackets: click's, of the default
                yield record[0], _(said) + rest.replace("; ", _("; "))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The examples. What is said of one stands beside it, or under it where there is no room."""
        found = [line.partition("\t")[::2] for line in (self.epilog or "").splitlines()]
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_heading(_("Examples"))
            with formatter.indentation():
                room = formatter.width - formatter.current_indent
                for shown in _examples([(line, _(note)) for line, note in found], room=room):
                    formatter.write(f"{'':{formatter.current_indent}}{shown}\n")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """As click's."""
        found = super().shell_complete(ctx, incomplete)
        for item in found:
            item.help = _(item.help) if item.help else item.help
        return found


def _examples(said: list[tuple[str, str]], *, room: int) -> Iterator[str]:
    """What is said of a line stands beside it, under each other as far as that fits, or else on a line of its own."""
    noted = [(columns(line), columns(note)) for line, note in said if note]
    sizes = (
        size for size, _width in noted if all(size + _ASIDE + width <= room for own, width in noted if own <= size)
    )
    beside = max(sizes, default=0)
    for line, note in said:
        shown = f"{pad(line, max(beside, columns(line)) + _ASIDE)}{note}" if note else line
        yield from [shown] if columns(shown) <= room or not note else [line, f"    {note}"]


class Command(_Spoken, click.Command):
    """A command."""


class Group(_Spoken, click.Group):
    """A group of commands; those made with it are `Command`."""

    command_class = Command
    group_class = type
