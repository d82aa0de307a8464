"""What a command prints: lines for people, or one JSON object for programs."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import click


class CommandFailed(RuntimeError):
    """The command could not do its work; the message is one line with what to do."""


class Output:
    """Collects nothing and prints once: text for people, or the object as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, values: Mapping[str, object], text: str) -> None:
        """The command's result in both forms."""
        click.echo(json.dumps(values, ensure_ascii=False, default=str) if self.as_json else text)

    def progress(self, text: str) -> None:
        """A line for people on the way; programs get none."""
        if not self.as_json:
            click.echo(text)


def with_output(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the option `--json` and its function an `output` argument."""

    def convert(_ctx: click.Context, _param: click.Parameter, value: object) -> Output:
        return Output(as_json=bool(value))

    return click.option(
        "--json", "output", is_flag=True, callback=convert, expose_value=True, help="Print one JSON object."
    )(function)
