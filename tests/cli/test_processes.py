"""Commands as processes of their own: on a stopped hub, beside a running one, and against one that serves."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    before = (data_dir / "master.key").read_text() if (data_dir / "master.key").exists() else ""
    rotated = hub("key", "rotate-master", "--json", data_dir=data_dir)
    assert rotated.returncode == 0, rotated.stderr
    after = (data_dir / "master.key").read_text()
    assert len(after.split()) == 1
    assert after != before
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
        assert json.loads(seeded.stdout)["demo"]["tenant"] == "demo"
        refused = hub("key", "rotate-master", data_dir=data_dir)
        assert refused.returncode == 1
        assert "stop it first" in refused.stderr
    finally:
        servers.stop()


@contextmanager
def serving(data_dir: Path) -> Iterator[dict[str, str]]:
    """A whole hub, started as a person starts it; what it greeted with."""
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
            yield json.loads(greeting)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def test_a_serving_hub_is_talked_to(tmp_path: Path) -> None:
    """One hub for all of it, because starting one takes longer than everything that is asked of it."""
    data_dir = tmp_path / "data"
    with serving(data_dir) as greeting:
        assert (greeting["tenant"], greeting["user"]) == ("demo", "admin")
        chats = f"{greeting['address'].replace('http', 'ws')}/ws/chat"
        done = hub("agent", "set", "assistant", "--tenant", "demo", "--memory", "rounds=2", "--json", data_dir=data_dir)
        assert json.loads(done.stdout)["memory"] == {"rounds": 2}
        chat_answers_a_script(data_dir)
        chat_converses(data_dir)
        asyncio.run(refuses_a_chat_that_is_not_there(f"{chats}/nobody"))
        asyncio.run(answers_once_what_is_said_twice(f"{chats}/{greeting['web']}"))
        session = asyncio.run(talk_for_a_while(f"{chats}/{greeting['web']}"))
        is_summarised_by_the_hubs_own_worker(Layout(data_dir).superuser_dsn, session)


def chat_answers_a_script(data_dir: Path) -> None:
    done = hub("chat", "--once", "What is your name?", "--wait", "30", "--json", data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["role"] == "assistant"
    assert answer["text"]
    assert answer["turn_id"]
    assert answer["session"]


def chat_converses(data_dir: Path) -> None:
    done = subprocess.run(
        command("chat"),
        check=False,
        cwd=ROOT,
        env=variables(data_dir),
        input="hello\n\n/quit\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "agent " in done.stdout


async def refuses_a_chat_that_is_not_there(address: str) -> None:
    with pytest.raises(CommandFailed, match="refuses"):
        async with talk(address):
            pass


async def answers_once_what_is_said_twice(address: str) -> None:
    """A socket lost in mid-answer: the message is said again under its id, and the stored answer is found."""
    async with talk(address) as open_talk:
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


async def talk_for_a_while(address: str) -> str:
    """Enough rounds to fill a fragment."""
    async with talk(address) as open_talk:
        for number in range(5):
            await open_talk.ask(f"My number is {number}", lambda _kind, _frame: None)
        return open_talk.session


def is_summarised_by_the_hubs_own_worker(dsn: str, session: str) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(dsn, dbname="hub", autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT count(*) FROM summary WHERE session_id = %s", (session,)).fetchone()
            if row and row[0]:
                return
            time.sleep(0.25)
    pytest.fail("no summary was written within a minute")
