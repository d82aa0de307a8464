"""Help: complete, quick, and the same as the page of the documentation."""

import importlib.util
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import click
import pytest

from hub.cli import commands
from hub.cli.output import EXITS
from hub.cli.root import SECTIONS, cli, run
from tests.cli.terminal import ROOT

HEAVY = ("django", "psycopg", "pydantic", "redis", "aiohttp", "structlog", "celery")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cli_page", ROOT / "scripts" / "cli_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every(found: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, found
    if isinstance(found, click.Group):
        context = click.Context(found)
        for inner in found.list_commands(context):
            below = found.get_command(context, inner)
            assert below is not None
            yield from every(below, f"{name} {inner}")


@pytest.mark.parametrize(("language", "name"), [("en", "cli.md"), ("zh_Hans", "cli.zh-CN.md")])
def test_the_page_says_what_help_says(language: str, name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == script().page(language), "run: python scripts/cli_page.py"


def test_help_lists_every_command() -> None:
    listed = {name for section in SECTIONS.values() for name in section}
    assert listed == {module.name for module in pkgutil.iter_modules(commands.__path__)}


def test_every_command_has_examples_that_name_it() -> None:
    for name, found in every(cli, "hub"):
        lines = (found.epilog or "").splitlines()
        assert any(name in line for line in lines), name


def test_every_option_says_what_it_is() -> None:
    silent = [
        f"{name} {one.name}"
        for name, found in every(cli, "hub")
        for one in found.params
        if isinstance(one, click.Option) and not one.hidden and not one.help
    ]
    assert silent == []


@pytest.mark.parametrize("arguments", [["--help"], ["tenant", "create", "--help"], ["backup", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    told = (
        "import sys\nfrom hub.cli.root import cli\n"
        f"try:\n    cli({arguments!r}, standalone_mode=False)\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], check=True, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "Examples:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["completion", "zsh"], 0, ""),
        (["chat", "--json"], 1, "hub: --json goes with --once TEXT"),
        (["tenant", "bake"], 2, "hub: No such command 'bake'; see: hub tenant --help"),
        (["tenant", "show"], 2, "hub: Missing argument 'SLUG'; see: hub tenant show --help"),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hub", *arguments])
    try:
        run()
    except SystemExit as ended:
        assert ended.code == code
    else:
        assert code == 0
    assert capsys.readouterr().err.strip() == told
    assert code in EXITS


@pytest.mark.parametrize("group", [(), ("tenant",)])
def test_a_group_without_a_command_shows_its_help(
    group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hub", *group])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"Usage: {' '.join(('hub', *group))} [OPTIONS] COMMAND [ARGS]...\n\n  ")
    assert "\n    hub " in told.err


def test_what_does_not_answer_has_its_own_code() -> None:
    elsewhere = {
        "PATH": "/usr/bin:/bin",
        "HUB_DATABASE_URL": "postgresql://hub_login@127.0.0.1:9/hub",
        "HUB_MASTER_KEY": "A" * 43 + "=",
        "HUB_REDIS_URL": "redis://127.0.0.1:9/0",
    }
    line = [sys.executable, "-m", "hub.cli", "tenant", "list"]
    done = subprocess.run(line, check=False, cwd=ROOT, env=elsewhere, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("hub: the database cannot be reached")
