"""`hub status`: what runs, what waits and how late it is."""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.root import examples
from hub.cli.terminal import age, bold, dim, table

if TYPE_CHECKING:
    from hub.cli.facts import Facts
    from hub.env import Env


@click.command(
    epilog=examples(
        "hub status",
        "hub status --watch                    again each two seconds, until Ctrl-C",
        "hub status --json | jq .queues.dead   for a monitor",
    )
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
        click.echo(dim(f"\n{time.strftime('%H:%M:%S')}, again in {every:g} s; Ctrl-C ends"))
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
    told, why = _facts(found)
    if told is not None:
        values |= told.values()
    lines = [_head(values)]
    lines += [dim(f"  {why}")] if why else []
    lines += _parts(told) if told is not None else []
    return values, "\n".join(lines)


def _facts(found: "Env") -> "tuple[Facts | None, str]":
    import psycopg

    from hub.embedded.postgres import accepts_connections

    if found.embedded_postgres and not accepts_connections(found.layout):
        return None, "the database is not running"
    from hub.cli import facts

    try:
        return facts.gather(found, reason="hub status"), ""
    except psycopg.errors.UndefinedTable:
        return None, "the database has no schema yet: hub migrate"
    except psycopg.Error as error:
        return None, f"the database does not answer: {' '.join(str(error).split())}"


def _head(values: dict[str, Any]) -> str:
    where = values["data_dir"]
    if not values["running"]:
        return bold(f"nothing runs on {where}")
    lines = [bold(f"{values['purpose']} (process {values['pid']}) on {where}")]
    lines += [f"  address  {values['address']}"] if values["address"] else []
    for one in values["servers"]:
        lines.append(
            f"  {one['name']:<11}process {one['pid']}{'' if one['alive'] else click.style(', gone', fg='red')}"
        )
    return "\n".join(lines)


def _parts(told: "Facts") -> list[str]:
    queues = told.queues
    rows = [
        (one.role, one.host, one.pid, age(one.up), age(one.seen), "alive" if one.alive else "gone")
        for one in told.processes
    ]
    waiting = [
        ("turns", f"{queues.due} due, {queues.running} running", age(queues.oldest_due) if queues.due else "-"),
        (
            "deliveries",
            f"{queues.pending} pending, {queues.sending} sending, {queues.retry} retry",
            age(queues.oldest_delivery) if queues.oldest_delivery else "-",
        ),
        ("letters", f"{queues.dead} dead, {queues.unknown} unknown", "-"),
        ("summaries", f"{queues.summaries} waiting, {queues.late_summaries} late", "-"),
        ("tasks", "not asked" if queues.tasks is None else f"{queues.tasks} waiting", "-"),
    ]
    roles = ", ".join(f"{count} {role}" for role, count in told.roles.items()) or "none"
    return [
        "",
        table(("ROLE", "HOST", "PID", "UP", "SEEN", "STATE"), rows, empty=dim("no process shows itself")),
        dim(f"living: {roles}"),
        "",
        table(("QUEUE", "WAITS", "OLDEST"), waiting),
        "",
        dim(", ".join(f"{name} {number}" for name, number in told.versions.items() if number)),
    ]
