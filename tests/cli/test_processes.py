"""Commands as processes of their own: on a stopped hub, beside a running one, and against one that serves."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hub.cli.output import CommandFailed
from hub.cli.talk import talk
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


def test_a_full_fragment_is_summarised_by_the_hubs_own_worker(serving: Path) -> None:
    done = hub("agent", "set", "assistant", "--tenant", "demo", "--memory", "rounds=2", "--json", data_dir=serving)
    assert json.loads(done.stdout)["memory"] == {"rounds": 2}
    greeting = json.loads((serving.parent / "greeting").read_text())
    session = asyncio.run(talk_for_a_while(f"{greeting['address'].replace('http', 'ws')}/ws/chat/{greeting['web']}"))
    dsn = Layout(serving).superuser_dsn
    deadline = time.monotonic() + 60
    while not (found := summaries(dsn, session)) and time.monotonic() < deadline:
        time.sleep(0.25)
    assert found


async def talk_for_a_while(address: str) -> str:
    """Rounds until the agent's new settings are in force (a spec is kept for five seconds) and a fragment is full."""
    async with talk(address) as open_talk:
        for number in range(14):
            await open_talk.ask(f"My number is {number}", lambda _kind, _frame: None)
            await asyncio.sleep(0.5)
        return open_talk.session


def summaries(dsn: str, session: str) -> int:
    with psycopg.connect(dsn, dbname="hub") as connection:
        row = connection.execute("SELECT count(*) FROM summary WHERE session_id = %s", (session,)).fetchone()
    return int(row[0]) if row else 0


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


async def test_a_chat_that_is_not_there_is_refused(serving: Path) -> None:
    address = json.loads((serving.parent / "greeting").read_text())["address"].replace("http", "ws")
    with pytest.raises(CommandFailed, match="refuses"):
        async with talk(f"{address}/ws/chat/nobody"):
            pass


async def test_a_message_said_twice_is_answered_once(serving: Path) -> None:
    """A lost socket in mid-answer: the message is said again under its id, and the stored answer is found."""
    greeting = json.loads((serving.parent / "greeting").read_text())
    async with talk(f"{greeting['address'].replace('http', 'ws')}/ws/chat/{greeting['web']}") as open_talk:
        lost: list[asyncio.Future[bool]] = []

        socket = open_talk._socket
        assert socket is not None

        def drop_once(kind: str, _frame: object) -> None:
            if kind == "ack" and not lost:
                lost.append(asyncio.ensure_future(socket.close()))

        answer = await open_talk.ask("hello", drop_once)
        assert lost
        assert (answer["seq"], answer["role"]) == (2, "assistant")
        assert (await open_talk.ask("and again", lambda _kind, _frame: None))["seq"] == 4
