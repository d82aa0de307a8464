"""One PostgreSQL for a whole run, a migrated template, a clone of it for each worker; tests work as the app's roles.

Nothing starts before the first test that asks for it. With xdist the controller starts the servers, so that they
outlive each worker; a worker asks by a file. Data folders of runs that were killed are cleaned up at the next start.
"""

import base64
import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg import sql

from hub.embedded import FolderInUse, Layout, Servers, folders, processes
from hub.embedded.postgres import ensure_database
from tenants.db.roles import create_roles

ROOT = Path(__file__).resolve().parent.parent
os.environ["LANGUAGE"] = "en"  # what commands say is compared, whatever their tester speaks
TEMPLATE = "hub_template"
PREFIX = "hub"
_BASE = Path(tempfile.gettempdir()) / f"agent-hub-tests-{os.geteuid()}"
_START_SECONDS = 120.0


class Standing:
    """Processes of the hub that several tests share on one database, until somebody wants it for himself."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}
        self._model_url = ""
        self._stack = ExitStack()

    def get(self, name: str, start: Callable[[], AbstractContextManager[Any]], *, model_url: str) -> Any:
        """What stands under this name, started when it does not.

        Those with another model server end first: each of them would run the others' turns with its own.
        """
        if model_url != self._model_url:
            self.close()
            self._model_url = model_url
        if name not in self._found:
            self._found[name] = self._stack.enter_context(start())
        return self._found[name]

    def close(self) -> None:
        """End them all."""
        self._found.clear()
        self._stack.close()


@dataclass(frozen=True, slots=True)
class Database:
    """The database of one worker, migrated, as each of the roles that may log in."""

    name: str
    superuser_dsn: str
    owner_dsn: str
    login_dsn: str
    standing: Standing = field(default_factory=Standing, repr=False, compare=False)

    def truncate(self) -> None:
        """Remove every row that the migrations did not make.

        A hub process that another test left standing would claim the next test's turns and deliveries, elect itself
        scanner and hold locks, so all of them end first.
        """
        self.standing.close()
        with psycopg.connect(self.superuser_dsn, autocommit=True) as connection:
            connection.execute(_EMPTY)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read or change anything, past every policy."""
        with psycopg.connect(self.superuser_dsn, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *values: Any) -> Any:
        """The first column of the first row, None without one."""
        found = self.rows(query, *values)
        return found[0][0] if found else None


# As superuser, past policies, triggers and foreign keys. Tables that the migrations fill are left alone. DELETE beats
# TRUNCATE by far on tables with a few rows, and most are empty.
_EMPTY = """
DO $$
DECLARE name text; filled boolean;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND c.relname NOT IN (SELECT relname FROM hub_test_seeded)
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', name) INTO filled;
        IF filled THEN EXECUTE format('DELETE FROM %s', name); END IF;
    END LOOP;
END $$
"""
_NOTE_SEEDED = """
DO $$
DECLARE name text; filled boolean;
BEGIN
    CREATE TABLE hub_test_seeded (relname name);
    INSERT INTO hub_test_seeded VALUES ('hub_test_seeded');
    FOR name IN SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM public.%I)', name) INTO filled;
        IF filled THEN INSERT INTO hub_test_seeded VALUES (name); END IF;
    END LOOP;
END $$
"""


class Run:
    """The servers of one pytest run, by its folder; the same in the controller and in each worker."""

    def __init__(self, folder: Path, *, worker: str, master_key: str) -> None:
        self.folder = folder
        self.worker = worker
        self.master_key = master_key
        self.layout = Layout(folder / "shared", role_prefix=PREFIX, database=f"hub_{worker}")
        self.own_layout = Layout(folder / worker, role_prefix=PREFIX)
        self._wanted, self._ready = folder / "wanted", folder / "ready"
        self._servers: Servers | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def select(self) -> None:
        """Point this process's settings at the worker's own database; nothing has to run for that."""
        for name in [name for name in os.environ if name.startswith("HUB_") or name == "PORT"]:
            del os.environ[name]
        os.environ.update(
            HUB_DATA_DIR=str(self.own_layout.data_dir),
            HUB_DATABASE_URL=self.layout.login_dsn,
            HUB_DATABASE_OWNER_URL=self.layout.owner_dsn,
            HUB_REDIS_URL=self.own_layout.redis_url,
            HUB_MASTER_KEY=self.master_key,
            HUB_LOG_FORMAT="json",
            PORT="0",
            DJANGO_SETTINGS_MODULE="hub.settings",
        )

    def start_when_wanted(self) -> None:
        """In the controller of xdist: start the servers as soon as a worker asks."""
        self._thread = threading.Thread(target=self._wait_and_start, name="test-servers", daemon=True)
        self._thread.start()

    def _wait_and_start(self) -> None:
        while not self._closing.wait(0.05):
            if self._wanted.exists():
                try:
                    self.start()
                except Exception as error:  # the workers wait for an answer, whatever went wrong
                    self._say(f"failed: {error}")
                    raise
                return

    def start(self) -> None:
        """Start PostgreSQL and make the template."""
        # Nothing here has to survive a power cut, so nothing waits for the disk.
        quick = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "2GB"}
        self._servers = Servers(self.layout, postgres_settings=quick)
        self._servers.start(purpose="tests", with_valkey=False)
        _make_template(self)
        self._say("ready")

    def _say(self, words: str) -> None:
        draft = self._ready.with_suffix(".draft")
        draft.write_text(words)
        draft.replace(self._ready)

    def wait(self) -> None:
        """In a worker: ask the controller and wait for the servers."""
        self._wanted.touch()
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the test servers did not start")
            time.sleep(0.02)
        if (words := self._ready.read_text()) != "ready":
            raise RuntimeError(f"the test servers {words}")

    def close(self) -> None:
        """In the process that started them: stop the servers and remove the folder."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=_START_SECONDS)
        if self._servers is not None:
            self._servers.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def clone(self) -> Database:
        """This worker's database, fresh from the template."""
        name = self.layout.database
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE))
        with psycopg.connect(self.layout.superuser_dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(1)")  # roles are shared: one worker at a time changes them
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(create)
            create_roles(self.layout.superuser_dsn, prefix=PREFIX, databases=[name])
        return Database(
            name=name,
            superuser_dsn=self.layout.dsn("postgres", database=name),
            owner_dsn=self.layout.owner_dsn,
            login_dsn=self.layout.login_dsn,
        )


def _make_template(run: Run) -> None:
    layout = Layout(run.layout.data_dir, role_prefix=PREFIX, database=TEMPLATE)
    ensure_database(layout.superuser_dsn, TEMPLATE)
    create_roles(layout.superuser_dsn, prefix=PREFIX, databases=[TEMPLATE])
    environment = {**os.environ, "HUB_DATABASE_URL": layout.login_dsn, "HUB_DATABASE_OWNER_URL": layout.owner_dsn}
    command = [sys.executable, "-m", "hub.cli", "migrate", "--json"]
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_START_SECONDS
    )
    if done.returncode != 0:
        raise RuntimeError(f"hub migrate failed: {done.stderr[-2000:]}")
    with psycopg.connect(layout.dsn("postgres"), autocommit=True) as connection:
        connection.execute(_NOTE_SEEDED)


def _remove_leftovers() -> None:
    """Stop the servers and remove the folders of runs that did not end by themselves."""
    for folder in _BASE.iterdir():
        try:
            alive = (folder / "alive").open("a")
        except FileNotFoundError:  # another run has just removed it
            continue
        with alive:
            try:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            for data_dir in (path for path in folder.iterdir() if path.is_dir()):
                layout = Layout(data_dir)
                try:
                    with folders.hold(layout, purpose="cleaning up"):
                        processes.stop_orphans([layout.postgres_dir, layout.valkey_dir], patience=2.0)
                except FolderInUse:
                    continue
                folders.remove_runtime(layout)
            shutil.rmtree(folder, ignore_errors=True)


_run: Run
_alive: list[object] = []  # holds the run's lock file open until the process ends


def _new_run() -> Run:
    _BASE.mkdir(mode=0o700, exist_ok=True)
    if _BASE.stat().st_uid != os.geteuid():
        raise RuntimeError(f"{_BASE} belongs to somebody else")
    with (_BASE.with_suffix(".lock")).open("a") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        _remove_leftovers()
        folder = Path(tempfile.mkdtemp(dir=_BASE))
        alive = (folder / "alive").open("a")
        fcntl.flock(alive, fcntl.LOCK_EX)
        _alive.append(alive)
    return Run(folder, worker="main", master_key=base64.b64encode(secrets.token_bytes(32)).decode())


def pytest_configure(config: pytest.Config) -> None:
    """Choose the run's folder and settings before anything of ours is imported by a test."""
    global _run
    given = getattr(config, "workerinput", None)
    if given is None:
        _run = _new_run()
    else:
        _run = Run(Path(given["hub_folder"]), worker=given["workerid"], master_key=given["hub_master_key"])
    _run.select()
    import django

    django.setup()
    if given is None and getattr(config.option, "dist", "no") != "no":
        _run.start_when_wanted()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """In the controller of xdist: tell a worker where the run's folder is."""
    given: dict[str, str] = node.workerinput  # type: ignore[attr-defined]
    given.update(hub_folder=str(_run.folder), hub_master_key=_run.master_key)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """In the controller of xdist: which tests go together."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from tests.support.groups import Groups

    return Groups(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what this process started."""
    if not hasattr(config, "workerinput") and "_run" in globals():
        _run.close()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Layout:
    """The run's PostgreSQL, started by the first test that asks: paths and addresses."""
    if hasattr(request.config, "workerinput"):
        _run.wait()
    elif not (_run.folder / "ready").exists():
        _run.start()
    return _run.layout


@pytest.fixture(scope="session")
def database(servers: Layout) -> Iterator[Database]:
    """This worker's migrated database. Rows stay between tests: ask for `clean` to begin with none."""
    yield _run.clone()
    from django.db import connections

    connections.close_all()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """This worker's own Valkey (publish and subscribe know no database numbers, so it is not shared)."""
    own = Servers(_run.own_layout, valkey_mb=128)
    own.start(purpose="tests", with_postgres=False)
    yield own.layout.redis_url
    own.stop()


@pytest.fixture
def clean(database: Database, redis_url: str) -> Database:
    """The worker's database with nothing but the migrations' rows, and an empty Valkey."""
    database.truncate()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return database
