"""One hub from its first chat to its restored copy, operated as a person does it."""

import asyncio
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from standardwebhooks import Webhook

from hub.cli.output import CommandFailed
from hub.cli.talk import talk
from hub.embedded import Layout
from tests.cli.terminal import ROOT, Terminal, command, hub, variables
from tests.support.model_server import ModelServer
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("operating")]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FACT = "My cat is called Fandango."


@dataclass
class Operated:
    """A hub with a model; `asked` lists the bodies of the calls that its model got."""

    data_dir: Path
    model: ModelServer
    greeting: dict[str, Any]
    environment: dict[str, str]
    acknowledged: list[tuple[float, int]] = field(default_factory=list)

    def hub(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return hub(*arguments, data_dir=self.data_dir, **(self.environment | more))

    def terminal(self, *arguments: str, **more: str) -> Terminal:
        return Terminal(*arguments, data_dir=self.data_dir, **(self.environment | more))


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    loop, ready, done = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    server = ModelServer()

    async def serve() -> None:
        async with server:
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    yield server
    loop.call_soon_threadsafe(done.set)
    thread.join(10)


class Up:
    """`hub up` on a folder; stopped at the end of the block."""

    def __init__(self, data_dir: Path, environment: dict[str, str]) -> None:
        self._log = (data_dir.parent / f"{data_dir.name}.log").open("w+")
        self._process = subprocess.Popen(
            command("up", "--json"),
            cwd=ROOT,
            env=variables(data_dir, **environment, HUB_WORKERS="1", HUB_DRAIN="1", HUB_LOG_FORMAT="json"),
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, Path(self._log.name).read_text()[-3000:]
        found: dict[str, Any] = json.loads(line)
        return found

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)
        self._log.close()


@pytest.fixture(scope="module")
def operated(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    data_dir = tmp_path_factory.mktemp("operated") / "data"
    base = model.url if model.url.endswith("/v1") else f"{model.url}/v1"
    environment = {"HUB_LLM_BASE_URL": base, "HUB_LLM_MODEL": "scripted", "HUB_EGRESS_ALLOW": "127.0.0.0/8"}
    with Up(data_dir, environment) as greeting:
        yield Operated(data_dir, model, greeting, environment)


def test_a_chat_is_dressed_stopped_and_begun_anew(operated: Operated) -> None:
    with operated.terminal("chat", "--as", "ann") as chat:
        chat.until("you   ")
        chat.type(f'{FACT} [[text text="# Noted\n- a **cat**\n- `Fandango`"]]\r'.replace("\n", "\\\r"))
        chat.until("Fandango\r\n", seconds=30)
        chat.until("you   ")
        assert "• a cat" in chat.plain
        assert "\x1b[1m\x1b[4mNoted" in chat.seen or "\x1b[1;4mNoted" in chat.seen, chat.seen[-800:]
        chat.type("count [[normal chunks=400 delay=0.05]]\r")
        chat.until("word3 ")
        chat.type("\x03")
        chat.until("what was said so far stays")
        chat.until("you   ")
        chat.type("/help\r")
        chat.until("/history")
        chat.type("/quit\r")
        assert chat.end() == 0
    again = operated.hub("chat", "--as", "ann", "--once", "hello", "--wait", "30", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["seq"] == 6  # the same conversation: two rounds before


def test_a_chat_in_chinese(operated: Operated) -> None:
    """Typed on a system that may not have the locale: characters are edited as characters."""
    with operated.terminal("chat", LC_ALL="zh_CN.UTF-8", LANGUAGE="") as chat:
        chat.until("已连接；/help 查看命令")
        chat.until("你     ")
        chat.type("/help\r")
        chat.until("/new      以新身份开始新的对话")
        chat.until("你     ")
        chat.type('猫狗\x7f叫阿福 [[text text="好的"]]\r')
        chat.until("智能体 好的")
        chat.type("/history\r")
        chat.until("你     猫叫阿福")
        chat.until("智能体 好的")
        chat.type("/quit\r")
        assert chat.end() == 0
    status = operated.hub("status", LC_ALL="zh_CN.UTF-8", LANGUAGE="").stdout
    assert status.startswith("运行中的中枢（进程 ")
    assert "0 条失败，0 条结果未知" in status


def test_a_chat_without_a_terminal_is_plain(operated: Operated) -> None:
    done = subprocess.run(
        command("chat"),
        check=False,
        cwd=ROOT,
        env=variables(operated.data_dir, **operated.environment),
        input='hi [[text text="**bold** \x1b[2Jclear"]]\n/new\n/history\n/quit\n',
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "agent **bold** " in done.stdout


def test_doctor_asks_the_model_and_status_counts(operated: Operated) -> None:
    done = operated.hub("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, [one for one in found["findings"] if not one["ok"]]
    named = {one["name"]: one for one in found["findings"]}
    assert "answered with" in named["model"]["detail"]
    assert {"celery", "processes", "sealed cells", "references", "partitions", "clock", "disk"} <= set(named)
    assert named["backup"]["level"] == "note"
    status = json.loads(operated.hub("status", "--json").stdout)
    assert status["roles"] == {"all": 1}
    assert status["queues"]["dead"] == 0
    assert status["versions"]["postgresql"].startswith("18")


def test_colours_are_for_terminals_that_want_them(operated: Operated) -> None:
    with operated.terminal("status", "--watch", "--every", "0.5") as watched:
        watched.until("Ctrl-C ends")
        watched.until("Ctrl-C ends")
        assert "\x1b[32malive" in watched.seen
        watched.type("\x03")
        assert watched.end() == 130
    for arguments, more in ((("status",), {"NO_COLOR": "1"}), (("status", "--no-color"), {})):
        with operated.terminal(*arguments, **more) as plain:
            assert plain.end() == 0
            assert "alive" in plain.seen
            assert "\x1b[" not in plain.seen
    assert "\x1b[" not in operated.hub("status").stdout


def test_tenants_are_completed_where_the_database_answers(operated: Operated) -> None:
    asked = {"_HUB_COMPLETE": "bash_complete", "COMP_WORDS": "hub agent list --tenant d", "COMP_CWORD": "4"}
    assert operated.hub(**asked).stdout.split() == ["plain,demo"]


def test_a_backup_under_load_is_whole_in_another_folder(operated: Operated, tmp_path: Path) -> None:
    made = operated.hub(
        "connection", "create", "webhook", "--tenant", "demo", "--agent", "assistant", "--name", "load",
        "--set", f"secret={SECRET}", "--set", "answer=inline", "--json",
    )  # fmt: skip
    path = json.loads(made.stdout)["webhook_path"]
    file = tmp_path / "hub.zip"
    stop = threading.Event()
    load = threading.Thread(target=lambda: asyncio.run(send(operated, path, stop)))
    load.start()
    try:
        wait_for(lambda: len(operated.acknowledged) >= 20)
        began = time.monotonic()
        with operated.terminal("backup", str(file)) as backup:
            assert backup.end() == 0, backup.plain
        wait_for(lambda: operated.acknowledged[-1][0] > began)
        ended = time.monotonic()
    finally:
        stop.set()
        load.join(30)
    assert "backup  [" in backup.plain.replace("\r", "")
    assert "the master key is not" in backup.plain
    before = {number for moment, number in operated.acknowledged if moment < began}
    during = {number for moment, number in operated.acknowledged if began < moment < ended}
    assert len(before) >= 20 and during
    assert file.stat().st_mode & 0o777 == 0o600
    assert (operated.data_dir / "master.key").read_bytes().strip() not in file.read_bytes()
    restored = restore(operated, file, tmp_path)
    with Up(restored, operated.environment):
        assert before <= numbers_in(restored)
        speaks_of_the_cat(operated, restored)


def restore(operated: Operated, file: Path, tmp_path: Path) -> Path:
    """Into a second folder: refused without and with a wrong key, whole with the right one, refused a second time."""
    data_dir, key = tmp_path / "second", operated.data_dir / "master.key"
    refused = hub("restore", str(file), data_dir=data_dir)
    assert (refused.returncode, "--master-key" in refused.stderr) == (1, True)
    assert not data_dir.exists()
    done = hub("restore", str(file), "--master-key", str(key), "--json", data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    doctor = hub("doctor", "--deep", "--json", data_dir=data_dir, **operated.environment)
    findings = json.loads(doctor.stdout)["findings"]
    assert doctor.returncode == 0, [one for one in findings if not one["ok"]]
    named = {one["name"]: one["detail"] for one in findings}
    assert named["restored rows"].startswith("all ")
    assert int(named["sealed cells"].split()[0]) > 20
    again = hub("restore", str(file), "--master-key", str(key), data_dir=data_dir)
    assert (again.returncode, "holds a hub already" in again.stderr) == (1, True)
    return data_dir


def numbers_in(data_dir: Path) -> set[int]:
    """The numbers of the webhooks that the restored hub holds, read as an operator reads them."""
    listed = hub(
        "session", "list", "--tenant", "demo", "--connection", "load", "--limit", "1000", "--json",
        data_dir=data_dir,
    )  # fmt: skip
    found: set[int] = set()
    for session in json.loads(listed.stdout)["sessions"]:
        shown = hub(
            "session", "show", session["id"], "--tenant", "demo", "--limit", "1000", "--json", data_dir=data_dir
        )
        texts = " ".join(one["text"] for one in json.loads(shown.stdout)["messages"] if one["role"] == "user")
        found |= {int(number) for number in re.findall(r"load (\d+)", texts)}
    return found


def speaks_of_the_cat(operated: Operated, data_dir: Path) -> None:
    """The restored hub goes on in the old session: its model is told what was said before the backup."""
    visitors = data_dir / "visitors"
    visitors.mkdir(mode=0o700)
    (visitors / "ann.json").write_bytes((operated.data_dir / "visitors" / "ann.json").read_bytes())
    answered = hub(
        "chat", "--as", "ann", "--once", "What is my cat called?", "--wait", "30", "--json",
        data_dir=data_dir, **operated.environment,
    )  # fmt: skip
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["seq"] == 8
    asked = [call.body for call in operated.model.calls if "What is my cat called?" in json.dumps(call.body)]
    assert any("Fandango" in json.dumps(body) for body in asked)


async def send(operated: Operated, path: str, stop: threading.Event) -> None:
    """Signed webhooks, a few at a time, each noted when it is acknowledged."""
    url, numbers = f"{operated.greeting['address']}{path}", iter(range(100_000))

    async def one(http: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            number = next(numbers)
            data = {"conversation": f"c{number % 2}", "sender": "u", "id": f"m{number}", "text": f"load {number}"}
            body = json.dumps({"type": "message", "data": data})
            now = datetime.now(UTC)
            signature = Webhook(SECRET).sign(f"msg_{number}", now, body)
            head = {"webhook-id": f"msg_{number}", "webhook-timestamp": str(int(now.timestamp()))}
            head |= {"webhook-signature": signature, "content-type": "application/json"}
            async with http.post(url, data=body, headers=head) as answer:
                assert answer.status == 200, await answer.text()
            operated.acknowledged.append((time.monotonic(), number))

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        await asyncio.gather(*(one(http) for _ in range(2)))


def wait_for(true: Any, *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_socket_is_spoken_as_the_page_speaks_it(operated: Operated) -> None:
    """The last one: it changes the agent."""
    chats = f"{operated.greeting['address'].replace('http', 'ws')}/ws/chat"
    done = operated.hub("agent", "set", "assistant", "--tenant", "demo", "--memory", "rounds=2", "--json")
    assert json.loads(done.stdout)["memory"] == {"rounds": 2}
    asyncio.run(refuses_a_chat_that_is_not_there(f"{chats}/nobody"))
    asyncio.run(answers_once_what_is_said_twice(f"{chats}/{operated.greeting['web']}"))
    session = asyncio.run(talk_for_a_while(f"{chats}/{operated.greeting['web']}"))
    is_summarised_by_the_hubs_own_worker(Layout(operated.data_dir).superuser_dsn, session)


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
    deadline = time.monotonic() + PATIENCE
    with psycopg.connect(dsn, dbname="hub", autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT count(*) FROM summary WHERE session_id = %s", (session,)).fetchone()
            if row and row[0]:
                return
            time.sleep(0.25)
    pytest.fail("no summary was written within a minute")
