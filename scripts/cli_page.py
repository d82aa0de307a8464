"""Write docs/cli.md from the commands themselves: every command's help, and the exit codes.

`python scripts/cli_page.py` rewrites the page; a test fails when it is stale.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hub.cli.output import EXITS  # noqa: E402
from hub.cli.root import SECTIONS, cli  # noqa: E402

PAGE = ROOT / "docs" / "cli.md"
WIDTH = 100
HEAD = """# The command line

This page is written from the program by `scripts/cli_page.py`: it says what `hub COMMAND --help` says.

- **For people**: tables, colours and progress bars on a terminal only. `NO_COLOR` (any value) or `--no-color` takes the
  colours away. What people and models wrote is shown without its control characters.
- **For programs**: every command takes `--json` and prints one JSON object on standard output. Errors are one line on
  standard error, beginning with `hub: `, and a code other than 0. What cannot be undone asks a person, and wants
  `--yes` of a program.
- **Settings** are environment variables: [configuration.md](configuration.md). A command works on a running hub beside
  it, and on a stopped one by starting its database for as long as it takes.
- **Completion**: `hub completion bash|zsh|fish` prints the script; names of tenants, agents, connections and channels
  are completed as well.
- Changes that an operator makes are in the tenant's audit trail, under the account that ran the command.

## Exit codes

| code | meaning |
|---|---|
"""


def page() -> str:
    """The page's text."""
    codes = "".join(f"| {code} | {text} |\n" for code, text in EXITS.items())
    return HEAD + codes + "".join(_sections())


def _sections() -> Iterator[str]:
    context = click.Context(cli, info_name="hub", terminal_width=WIDTH, max_content_width=WIDTH)
    for title, names in SECTIONS.items():
        yield f"\n## {title}\n"
        for name in names:
            found = cli.get_command(context, name)
            if found is None:
                raise LookupError(name)
            yield from _command(found, name, context, level=3)


def _command(found: click.Command, name: str, parent: click.Context, *, level: int) -> Iterator[str]:
    context = click.Context(
        found, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )  # fmt: skip
    text = click.unstyle(found.get_help(context)).strip()
    yield f"\n{'#' * level} {context.command_path}\n\n```text\n{text}\n```\n"
    if isinstance(found, click.Group):
        for inner in found.list_commands(context):
            below = found.get_command(context, inner)
            if below is not None:
                yield from _command(below, inner, context, level=level + 1)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")
