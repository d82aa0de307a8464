"""`hub doctor`: look at everything and say what to do."""

import sys

import click

from hub.cli import checks, database
from hub.cli.output import Output, with_output
from hub.env import env


@click.command()
@with_output
def command(output: Output) -> None:
    """Check everything the hub needs, running or not, and say what to do."""
    found = env()
    running = checks.is_running(found)
    with database.available(found, purpose="hub doctor"):
        findings = list(checks.examine(found, running=running))
    lines = [f"{'ok  ' if one.good else 'BAD '} {one.name}: {one.detail}" for one in findings]
    lines += [f"     to do for {one.name}: {one.remedy}" for one in findings if not one.good]
    values = [{"name": one.name, "ok": one.good, "detail": one.detail, "remedy": one.remedy} for one in findings]
    good = all(one.good for one in findings)
    output.result({"ok": good, "findings": values}, "\n".join(lines))
    if not good:
        sys.exit(1)
