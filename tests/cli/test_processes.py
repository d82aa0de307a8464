"""Commands as processes of their own: on a stopped hub, beside a running one, and against one that serves."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.embedded import Layout, Servers

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hub.cli", *arguments]


def variables(data_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUB_") and name != "PORT"}
    return {**kept, "HUB_DATA_DIR": str(data_dir), "PORT": "0", "HUB_LOG_FORMAT": "json"}


def hub(*arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        check=False,
        cwd=ROOT,
        env=variables(data_dir),
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_stopped_hub_is_administered_and_stays_stopped(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    made = hub("tenant", "create", "acme", "--json", data_dir=data_dir)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["slug"] == "acme"
    status = json.loads(hub("status", "--json", data_dir=data_dir).stdout)
    assert status["running"] is False
    rotated = hub("key", "rotate-master", "--json", data_dir=data_dir)
    assert rotated.returncode == 0, rotated.stderr
    assert len((data_dir / "master.key").read_text().split()) == 1
    refused = hub("chat", "--once", "hi", data_dir=data_dir)
    assert refused.returncode == 1
    assert refused.stderr.strip() == "hub: the hub does not run here: start it with hub up, or give --url"


def test_a_running_hub_is_administered_beside_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    servers = Servers(Layout(data_dir), postgres_settings={"fsync": "off"})
    servers.start(with_valkey=False)
    try:
        seeded = hub("migrate", "--demo", "--json", data_dir=data_dir)
        assert seeded.returncode == 0, seeded.stderr
        key = hub("key", "create", "--tenant", "demo", "--json", data_dir=data_dir)
        assert json.loads(key.stdout)["key"].startswith("hub_")
        refused = hub("key", "rotate-master", data_dir=data_dir)
        assert refused.returncode == 1
        assert "stop it first" in refused.stderr
        assert json.loads(hub("status", "--json", data_dir=data_dir).stdout)["running"] is True
    finally:
        servers.stop()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A whole hub, started as a person starts it."""
    data_dir = tmp_path_factory.mktemp("serving") / "data"
    log = data_dir.parent / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command("up", "--json"),
            cwd=ROOT,
            env=variables(data_dir) | {"HUB_WORKERS": "1", "HUB_DRAIN": "1"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdout is not None
            greeting = process.stdout.readline()
            assert greeting, log.read_text()[-3000:]
            (data_dir.parent / "greeting").write_text(greeting)
            yield data_dir
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def test_up_greets_with_the_demo(serving: Path) -> None:
    greeting = json.loads((serving.parent / "greeting").read_text())
    assert greeting["tenant"] == "demo"
    assert greeting["user"] == "admin"
    assert greeting["chat"].startswith("http://127.0.0.1:")


def test_chat_answers_a_script(serving: Path) -> None:
    done = hub("chat", "--once", "What is your name?", "--wait", "30", "--json", data_dir=serving)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["role"] == "assistant"
    assert answer["text"]
    assert answer["turn_id"]
    assert answer["session"]


def test_chat_converses(serving: Path) -> None:
    done = subprocess.run(
        command("chat"),
        check=False,
        cwd=ROOT,
        env=variables(serving),
        input="hello\n\n/quit\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "agent " in done.stdout


def test_chat_names_an_address_that_does_not_answer(serving: Path) -> None:
    done = hub("chat", "--once", "hi", "--url", "http://127.0.0.1:9", data_dir=serving)
    assert done.returncode == 1
    assert "no hub answers at ws://127.0.0.1:9/ws/chat/" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_chat_that_is_not_there_is_refused(serving: Path) -> None:
    done = hub("chat", "--once", "hi", "--connection", "nobody", data_dir=serving)
    assert done.returncode == 1
    assert "refuses" in done.stderr
