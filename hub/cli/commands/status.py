"""`hub status`: what runs, what waits and how late it is."""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from hub.cli.helping import Command, examples
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import State, age, bold, dim, pad, paint, table
from hub.cli.words import Phrase, Words, _, told

if TYPE_CHECKING:
    from hub.cli.facts import Facts, Queues
    from hub.env import Env


@click.command(
    cls=Command,
    epilog=examples(
        "hub status",
        ("hub status --watch", "again each two seconds, until Ctrl-C"),
        ("hub status --json | jq .queues.dead", "for a monitor"),
    ),
)
@click.option("--watch", is_flag=True, help="Show it again and again, on a terminal.")
@click.option("--every", type=click.FloatRange(0.5, 3600), default=2.0, show_default=True, help="Seconds between.")
@with_output
def command(output: Output, watch: bool, every: float) -> None:  # noqa: FBT001 - click's flag
    """Show what runs here: servers, processes by role, queues and how long they wait, versions.

    Starts nothing: where the embedded database does not run, only that is told.
    """
    if watch and (output.as_json or not sys.stdout.isatty()):
        raise CommandFailed("--watch is for a terminal; programs ask again by themselves")
    while True:
        values, text = _seen()
        if watch:
            click.clear()
        output.result(values, text)
        if not watch:
            return
        moment = time.strftime("%H:%M:%S")
        click.echo(dim("\n" + _("{time}, again in {seconds:g} s; Ctrl-C ends", time=moment, seconds=every)))
        time.sleep(every)


def _seen() -> tuple[dict[str, Any], str]:
    from hub.embedded import folders, processes
    from hub.env import env

    found = env()
    held = folders.holder(found.layout)
    address = None
    if held is not None and held[1] == folders.HUB and found.layout.address_file.exists():
        address = found.layout.address_file.read_text()
    values: dict[str, Any] = {
        "running": held is not None,
        "pid": held[0] if held else None,
        "purpose": held[1] if held else None,
        "data_dir": str(found.layout.root),
        "address": address,
        "servers": processes.recorded(found.layout),
    }
    facts, why = _facts(found)
    if facts is not None:
        values |= facts.values()
    lines = [_head(values)]
    lines += [dim(f"  {told(why)}")] if why else []
    lines += _parts(facts) if facts is not None else []
    return values, "\n".join(lines)


def _facts(found: "Env") -> "tuple[Facts | None, Words]":
    import psycopg

    from hub.embedded.postgres import accepts_connections

    if found.embedded_postgres and not accepts_connections(found.layout):
        return None, Phrase("the database is not running")
    from hub.cli import facts

    try:
        return facts.gather(found, reason="hub status"), ""
    except psycopg.errors.UndefinedTable:
        return None, Phrase("the database has no schema yet: hub migrate")
    except psycopg.Error as error:
        return None, Phrase("the database does not answer: {reason}", reason=" ".join(str(error).split()))


def _head(values: dict[str, Any]) -> str:
    where = values["data_dir"]
    if not values["running"]:
        return bold(_("nothing runs on {folder}", folder=where))
    held = {"purpose": Phrase(values["purpose"]), "pid": values["pid"], "folder": where}
    lines = [bold(_("{purpose} (process {pid}) on {folder}", **held))]
    lines += [f"  {pad(_('address'), 11)}{values['address']}"] if values["address"] else []
    for one in values["servers"]:
        state = "" if one["alive"] else f", {paint(State('gone'))}"
        lines.append(f"  {pad(one['name'], 11)}{_('process {pid}', pid=one['pid'])}{state}")
    return "\n".join(lines)


def _parts(facts: "Facts") -> list[str]:
    rows = [
        (one.role, one.host, one.pid, age(one.up), age(one.seen), State("alive" if one.alive else "gone"))
        for one in facts.processes
    ]
    roles = ", ".join(f"{count} {role}" for role, count in facts.roles.items()) or _("none")
    heads = (_("ROLE"), _("HOST"), _("PID"), _("UP"), _("SEEN"), _("STATE"))
    return [
        "",
        table(heads, rows, empty=dim(_("no process shows itself"))),
        dim(_("living: {roles}", roles=roles)),
        "",
        table((_("QUEUE"), _("WAITS"), _("OLDEST")), _waiting(facts.queues)),
        "",
        dim(", ".join(f"{name} {number}" for name, number in facts.versions.items() if number)),
    ]


def _waiting(queues: "Queues") -> list[tuple[Words, Words, Words]]:
    """What waits, and since when."""
    turns = Phrase("{due} due, {running} running", due=queues.due, running=queues.running)
    deliveries = Phrase(
        "{pending} pending, {sending} sending, {retry} retry",
        pending=queues.pending,
        sending=queues.sending,
        retry=queues.retry,
    )
    letters = Phrase("{dead} dead, {unknown} unknown", dead=queues.dead, unknown=queues.unknown)
    summaries = Phrase("{count} waiting, {late} late", count=queues.summaries, late=queues.late_summaries)
    tasks = Phrase("not asked") if queues.tasks is None else Phrase("{count} waiting", count=queues.tasks)
    return [
        (Phrase("turns"), turns, age(queues.oldest_due) if queues.due else "-"),
        (Phrase("deliveries"), deliveries, age(queues.oldest_delivery) if queues.oldest_delivery else "-"),
        (Phrase("letters"), letters, "-"),
        (Phrase("summaries"), summaries, "-"),
        (Phrase("tasks"), tasks, "-"),
    ]
