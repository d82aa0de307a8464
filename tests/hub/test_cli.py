"""The `hub` command as people and scripts see it: real processes on data folders of their own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
import psutil
import pytest

from hub.cli.children import Child, Children
from hub.cli.root import cli
from hub.embedded import Layout, Servers
from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def hub(*arguments: str, data_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_") and name != "PORT"}
    environment |= {"HUB_DATA_DIR": str(data_dir), "PORT": "0", **variables}
    command = [sys.executable, "-m", "hub.cli", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)


def test_wrong_variables_are_listed_and_nothing_starts(tmp_path: Path) -> None:
    done = hub("up", data_dir=tmp_path / "data", HUB_LOG_LEVEL="loud", HUB_LLM_MODEL="m")
    assert done.returncode == 2
    assert "HUB_LOG_LEVEL" in done.stderr
    assert "HUB_LLM_BASE_URL" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = hub("up", data_dir=tmp_path / "data", PORT=str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"hub: port {port} on 127.0.0.1 is in use")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_a_held_folder_is_named(tmp_path: Path) -> None:
    servers = Servers(Layout(tmp_path / "data"))
    servers.start(purpose="a long import", with_postgres=False)
    try:
        done = hub("up", data_dir=tmp_path / "data")
        status = json.loads(hub("status", "--json", data_dir=tmp_path / "data").stdout)
    finally:
        servers.stop()
    assert done.returncode == 1
    assert f"in use by a long import (process {os.getpid()})" in done.stderr
    assert status["running"] is True
    assert status["purpose"] == "a long import"
    assert [(one["name"], one["alive"]) for one in status["servers"]] == [("Valkey", True)]


@pytest.mark.slow
def test_a_stopped_hub_can_be_worked_on(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    sick = hub("doctor", "--json", data_dir=data_dir)
    assert sick.returncode == 1
    assert "hub db init" in sick.stdout
    assert json.loads(hub("db", "init", "--json", data_dir=data_dir).stdout) == {
        "database": "hub",
        "role_prefix": "hub",
    }
    assert json.loads(hub("migrate", "--json", data_dir=data_dir).stdout)["applied"]
    well = json.loads(hub("doctor", "--json", data_dir=data_dir).stdout)
    assert well["ok"], well
    assert not Layout(data_dir).run_dir.exists()


def leaves(found: click.Command, name: str) -> list[tuple[str, click.Command]]:
    if not isinstance(found, click.Group):
        return [(name, found)]
    context = click.Context(found)
    inner = [(one, found.get_command(context, one)) for one in found.list_commands(context)]
    return [leaf for one, below in inner if below is not None for leaf in leaves(below, f"{name} {one}")]


@pytest.mark.parametrize(("name", "found"), leaves(cli, "hub"))
def test_every_command_speaks_json_and_says_what_it_does(name: str, found: click.Command) -> None:
    assert any("--json" in parameter.opts for parameter in found.params), name
    assert found.help, name


def child(name: str, tmp_path: Path, code: str, *, patience: float = 10.0) -> Child:
    (tmp_path / f"{name}_module.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    return Child(name, f"{name}_module", patience=patience, environment=environment)


LOYAL = "import pathlib, sys, time\npathlib.Path(__file__).with_suffix('.up').touch()\ntime.sleep(600)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LOYAL


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


async def test_a_crashed_child_is_started_again_and_stopped_with_the_rest(tmp_path: Path) -> None:
    children = Children()
    await children.start(child("loyal", tmp_path, LOYAL))
    first = children.pid("loyal")
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while children.pid("loyal") == first:
            await asyncio.sleep(0.02)
    second = children.pid("loyal")
    await children.stop()
    assert not psutil.pid_exists(second)


async def test_a_second_request_skips_the_patience(tmp_path: Path) -> None:
    children = Children()
    await children.start(child("stubborn", tmp_path, STUBBORN, patience=60.0))
    wait_for(tmp_path / "stubborn_module.up")
    began = time.monotonic()
    children.hurry()
    await children.stop()
    assert time.monotonic() - began < 10


def test_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    (tmp_path / "loyal_module.py").write_text(LOYAL)
    script = (
        "import asyncio, os, sys\n"
        "from hub.cli.children import Child, Children\n"
        "async def main():\n"
        "    children = Children()\n"
        "    await children.start(Child('loyal', 'loyal_module', environment=dict(os.environ)))\n"
        "    print(children.pid('loyal'), flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        orphan = psutil.Process(int(supervisor.stdout.readline()))
        wait_for(tmp_path / "loyal_module.up")
        supervisor.kill()
    gone, _ = psutil.wait_procs([orphan], timeout=10)
    assert gone or orphan.status() == psutil.STATUS_ZOMBIE
