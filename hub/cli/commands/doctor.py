"""`hub doctor`: look at everything and say what to do."""

import sys
from typing import TYPE_CHECKING

import click

from hub.cli.helping import Command, examples
from hub.cli.output import EXIT_FAILED, Output, with_output
from hub.cli.terminal import State, bold, columns, dim, pad, paint
from hub.cli.words import _, told

if TYPE_CHECKING:
    from hub.cli.finding import Finding

_MARKS = {"ok": State("ok"), "note": State("note"), "bad": State("BAD")}


@click.command(
    cls=Command,
    epilog=examples(
        "hub doctor",
        ("hub doctor --deep", "every sealed cell instead of the newest"),
        "hub doctor --json | jq '.findings[] | select(.ok | not)'",
    ),
)
@click.option("--deep", is_flag=True, help="Open every sealed cell of every tenant; takes its time.")
@with_output
def command(output: Output, deep: bool) -> None:  # noqa: FBT001 - click's flag
    """Check everything the hub needs, running or not, and say for each problem what to do.

    Asks the model for one token, the workers for a sign of life, and opens sealed cells. Ends with 1 when something is
    broken; notes do not count.
    """
    from hub.cli import checks, database
    from hub.env import env

    found = env()
    running = checks.is_running(found)
    findings: list[Finding] = []
    with database.available(found, purpose="hub doctor"), output.bar(_("looking"), total=checks.ABOUT) as step:
        for one in checks.examine(found, running=running, everything=deep):
            findings.append(one)
            step(1)
    good = all(one.good for one in findings)
    output.result({"ok": good, "findings": [_values(one) for one in findings]}, _text(findings))
    if not good:
        sys.exit(EXIT_FAILED)


def _values(one: "Finding") -> dict[str, object]:
    return {"name": one.name, "ok": one.good, "level": one.level, "detail": one.detail, "remedy": one.remedy}


def _text(findings: "list[Finding]") -> str:
    named = [(_(one.name), one) for one in findings]
    width = max(columns(name) for name, _one in named)
    mark = max(columns(told(one)) for one in _MARKS.values())
    lines = [f"{paint(_MARKS[one.level], width=mark)}  {pad(name, width)}  {told(one.detail)}" for name, one in named]
    todo = [(name, one) for name, one in named if one.remedy]
    if todo:
        lines += ["", bold(_("to do"))]
        lines += [f"  {pad(name, width)}  {told(one.remedy)}" for name, one in todo]
    broken = sum(not one.good for one in findings)
    counted = {"count": len(findings), "broken": broken, "notes": len(todo) - broken}
    lines += ["", dim(_("{count} things looked at, {broken} broken, {notes} to look at", **counted))]
    return "\n".join(lines)
