"""The embedded pair on real processes: what survives a kill, and what two data folders share (nothing)."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from hub.embedded import FolderInUse, Layout, Servers, postgres, running
from hub.embedded.processes import recorded
from tests.support.patience import PATIENCE


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(Layout(tmp_path_factory.mktemp("pair") / "data"))
    servers.start()
    yield servers
    servers.stop()


def ask(layout: Layout, query: str) -> object:
    with psycopg.connect(layout.superuser_dsn, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_both_servers_answer(pair: Servers) -> None:
    assert str(ask(pair.layout, "SHOW server_version")).startswith("18")
    with redis.Redis.from_url(pair.layout.redis_url) as client:
        assert client.ping()


def test_postgres_is_set_up_for_the_hub(pair: Servers) -> None:
    assert ask(pair.layout, "SHOW listen_addresses") == ""
    assert ask(pair.layout, "SHOW fsync") == "on"
    assert ask(pair.layout, "SHOW jit") == "off"
    assert ask(pair.layout, "SELECT datlocale FROM pg_database WHERE datname = 'template1'") == "C.UTF-8"
    postgres.ensure_database(pair.layout.superuser_dsn, "fresh")
    with psycopg.connect(pair.layout.dsn("postgres", database="fresh")) as connection:
        assert connection.execute("SELECT '[1,2]'::vector <-> '[1,3]'::vector").fetchone() == (1.0,)


def test_sockets_are_private_and_nothing_listens_on_tcp(pair: Servers) -> None:
    assert stat.S_IMODE(pair.layout.run_dir.stat().st_mode) == 0o700
    for name in ("postgres", "valkey"):
        process = psutil.Process(pair.pid(name))
        assert not process.net_connections(kind="inet")
        assert process.uids().effective != 0


def test_the_folder_is_held_by_one(pair: Servers) -> None:
    with pytest.raises(FolderInUse, match=str(os.getpid())):
        Servers(pair.layout).start()


def test_a_command_uses_the_running_hub(pair: Servers) -> None:
    before = pair.pid("postgres")
    with running(pair.layout, purpose="a test"):
        assert ask(pair.layout, "SELECT 1") == 1
    assert pair.pid("postgres") == before
    assert ask(pair.layout, "SELECT 2") == 2


@pytest.mark.parametrize("name", ["postgres", "valkey"])
async def test_a_killed_server_comes_back(pair: Servers, name: str) -> None:
    before = pair.pid(name)
    watcher = asyncio.create_task(pair.supervise())
    try:
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while pair.pid(name) == before:
                await asyncio.sleep(0.02)
    finally:
        watcher.cancel()
    assert ask(pair.layout, "SELECT 1") == 1
    with redis.Redis.from_url(pair.layout.redis_url) as client:
        assert client.ping()


def test_two_data_folders_side_by_side(pair: Servers, tmp_path: Path) -> None:
    other = Servers(Layout(tmp_path / "other"))
    other.start()
    try:
        assert other.layout.redis_url != pair.layout.redis_url
        postgres.ensure_database(other.layout.superuser_dsn, "only_here")
        found = "SELECT count(*) FROM pg_database WHERE datname = 'only_here'"
        assert (ask(other.layout, found), ask(pair.layout, found)) == (1, 0)
    finally:
        other.stop()
    assert ask(pair.layout, "SELECT 1") == 1


def test_a_command_on_a_stopped_hub_starts_postgres_for_itself(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    with running(layout, purpose="a test"):
        assert ask(layout, "SELECT 1") == 1
        assert not layout.valkey_socket.exists()
    assert not postgres.accepts_connections(layout)
    assert not layout.run_dir.exists()


SUPERVISOR = """
import sys, time
from pathlib import Path
from hub.embedded import Layout, Servers

from tests.support.patience import PATIENCE
servers = Servers(Layout(Path(sys.argv[1])))
servers.start()
print("up", flush=True)
time.sleep(600)
"""


def test_orphans_of_a_killed_supervisor_are_stopped(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, layout.data_dir], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"up\n"
        orphans = [int(str(entry["pid"])) for entry in recorded(layout)]
        with psycopg.connect(layout.superuser_dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS x")
        supervisor.kill()
    assert len(orphans) == 2
    assert all(psutil.pid_exists(pid) for pid in orphans)
    servers = Servers(layout)
    servers.start()
    try:
        assert not any(psutil.pid_exists(pid) for pid in orphans)
        assert ask(layout, "SELECT x FROM kept") == 7
    finally:
        servers.stop()


def test_a_long_path_moves_the_sockets(tmp_path: Path) -> None:
    layout = Layout(tmp_path / ("x" * 100) / "data", privileged=False)
    assert not layout.run_dir.is_relative_to(tmp_path)
    assert len(str(layout.valkey_socket)) < 100
    short = Layout(Path("/srv/hub"), privileged=False)
    assert short.run_dir == Path("/srv/hub/run").resolve()


def test_an_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.postgres_dir.mkdir(parents=True)
    (layout.postgres_dir / "PG_VERSION").write_text("18\n")
    with running(layout, purpose="a test"):
        assert ask(layout, "SELECT 1") == 1
