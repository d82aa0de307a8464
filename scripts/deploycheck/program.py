"""What the program really has: variables, commands, probe paths, metrics, drain. Read from it, never repeated here."""

import ast
import tomllib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import click

from hub.cli.root import cli
from hub.env import Env, variable

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROBES = {"/health/live", "/health/ready"}
"""Tested against the running processes in tests/deploy."""
LINGER = 3.0
"""Seconds for which a gateway goes on answering (`hub.cli.web`)."""
_SUFFIXES = {
    "Counter": ("_total",),
    "CounterMetricFamily": ("_total",),
    "Gauge": ("",),
    "GaugeMetricFamily": ("",),
    "Histogram": ("_bucket", "_sum", "_count"),
}


@lru_cache
def version() -> str:
    """The project's version, which is the image's tag."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


@lru_cache
def variables() -> frozenset[str]:
    """Every variable that the program reads."""
    return frozenset(variable(name) for name in Env.model_fields)


def drain(given: str | None) -> float:
    """Seconds of draining, as set or by default."""
    return float(given) if given else float(Env.model_fields["drain"].default)


@lru_cache
def metrics() -> frozenset[str]:
    """The names of all samples that the hub's processes expose, read from where they are made."""
    found = {"process_cpu_seconds_total", "process_resident_memory_bytes"}  # the client library's own
    for path in (ROOT / "hub").rglob("*.py"):
        found.update(_made(ast.parse(path.read_text(encoding="utf-8"))))
    return frozenset(found)


def _made(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
            continue
        name = node.args[0]
        if node.func.id in _SUFFIXES and isinstance(name, ast.Constant) and isinstance(name.value, str):
            for suffix in _SUFFIXES[node.func.id]:
                yield name.value.removesuffix("_total") + suffix


def refused(arguments: Sequence[str]) -> str:
    """Why `hub` would not take this command line; nothing if it would."""
    try:
        _parse(cli, list(arguments))
    except click.ClickException as wrong:
        return wrong.format_message()
    except click.exceptions.Exit:
        return "it only shows help"
    return ""


def _parse(command: click.Command, arguments: list[str]) -> None:
    with command.make_context("hub", arguments) as context:
        if isinstance(command, click.Group):
            _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            if found is None:
                raise click.UsageError("there is no such command")
            _parse(found, rest)
