"""`hub memory`: what is remembered of a session or a person."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from hub.cli import arguments, lookup
from hub.cli.helping import Group, examples
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import SPEAKERS, safe
from hub.cli.words import _, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.cli.remembered import Whose


@click.group(
    cls=Group,
    epilog=examples(
        "hub memory show --tenant acme --session 0199…",
        "hub memory export --tenant acme --subject 0199… --to ann.jsonl",
        "hub memory erase --tenant acme --subject 0199…",
    ),
)
def command() -> None:
    """Show, export and erase what is remembered."""


def _whose(function: "Callable[..., Any]") -> "Callable[..., Any]":
    function = click.option("--subject", help="Everything of a person, a contact or a group.")(function)
    function = click.option("--session", help="One conversation.")(function)
    return arguments.tenant(function)


@command.command(epilog=examples("hub memory show --tenant acme --session 0199…"))
@_whose
@with_output
def show(output: Output, slug: str, session: str | None, subject: str | None) -> None:
    """Show summaries and the lines not yet summarised."""
    with lookup.work("hub memory show"):
        from hub.cli import remembered

        whose = _named(slug, session, subject)
        vault = lookup.vault()
        summaries = list(remembered.summaries(whose, vault))
        recent = list(remembered.lines(whose, vault))
        values = {**remembered.counts(whose), "summary": summaries, "recent": recent}
    lines = [f"[{one['first_seq']}–{one['last_seq']}] {safe(one['text'])}" for one in summaries]
    lines += [f"{one['seq']:>6} {_said(one)}" for one in recent]
    output.result(values, "\n".join(lines) or _("nothing is remembered"))


@command.command(epilog=examples("hub memory export --tenant acme --subject 0199… --to ann.jsonl"))
@_whose
@click.option(
    "--to",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file; else standard output.",
)
@with_output
def export(output: Output, slug: str, session: str | None, subject: str | None, path: Path | None) -> None:
    """Write everything, line by line as JSON, in the clear: for the person it belongs to."""
    with lookup.work("hub memory export"):
        whose = _named(slug, session, subject)
        if path is None:
            _write(whose, sys.stdout)
            return
        with path.open("x", encoding="utf-8") as file:
            path.chmod(0o600)
            count = _write(whose, file)
    output.result({"path": str(path), "records": count}, _("{count} records are in {file}", count=count, file=path))


@command.command(epilog=examples("hub memory erase --tenant acme --subject 0199… --yes"))
@_whose
@arguments.yes
@with_output
def erase(output: Output, slug: str, session: str | None, subject: str | None, yes: bool) -> None:  # noqa: FBT001 - click's flag
    """Forget for good. Stored messages of the conversation stay; only memory goes."""
    with lookup.work("hub memory erase"):
        from hub.cli import remembered

        whose = _named(slug, session, subject)
        held = remembered.counts(whose)
        output.confirm(_("erase {lines} lines and {summaries} summaries for good?", **held), yes=yes)
        values = remembered.erase(whose)
    output.result(values, _("{lines} lines and {summaries} summaries are erased", **values))


def _said(line: dict[str, Any]) -> str:
    speaker = line["speaker"] or told(SPEAKERS.get(line["role"], line["role"]))
    return safe(_("{name}: {text}", name=speaker, text=line["text"]))


def _named(slug: str, session: str | None, subject: str | None) -> "Whose":
    from hub.cli.remembered import Whose

    if (session is None) == (subject is None):
        raise CommandFailed("give either --session or --subject")
    tenant = lookup.tenant(slug)
    if session is not None:
        return Whose(tenant.id, session_id=lookup.need_uuid(session, "session"))
    return Whose(tenant.id, subject_id=lookup.need_uuid(subject or "", "subject"))


def _write(whose: "Whose", file: TextIO) -> int:
    import orjson

    from hub.cli import remembered

    count = 0
    vault = lookup.vault()
    for kind, records in (
        ("summary", remembered.summaries(whose, vault, with_lines=True)),
        ("line", remembered.lines(whose, vault)),
    ):
        for record in records:
            file.write(orjson.dumps({"kind": kind, **record}).decode() + "\n")
            count += 1
    return count
