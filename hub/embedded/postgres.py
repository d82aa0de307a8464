"""PostgreSQL: makes the cluster once, starts it, answers when it takes connections."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import pq, sql

from hub.embedded.account import Account
from hub.embedded.binaries import Binaries
from hub.embedded.errors import ServerFailed
from hub.embedded.layout import SUPERUSER, Layout
from hub.embedded.processes import ServerProcess, Start, pause

# Long enough for crash recovery of a big cluster; a server that ended is noticed at once.
_READY_SECONDS = 300.0
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "jit": "off",
    "timezone": "UTC",
    # Logs hold neither statements nor row contents: both may carry what people wrote.
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
}


def create_cluster(layout: Layout, *, binaries: Binaries, account: Account) -> None:
    """Make the cluster unless it exists; an unfinished one from an interrupted start is made anew."""
    folder = layout.postgres_dir
    done = folder / "PG_VERSION"
    complete = layout.cluster_ready_file
    if done.exists() and complete.exists():
        return
    if folder.exists() and not complete.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    account.own(folder)
    with _reachable(folder, account) as (path, fds):
        command: list[str | Path] = [binaries.initdb, "-D", path, "-U", SUPERUSER, "--encoding=UTF8", "--locale=C"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--auth-local=trust", "--auth-host=reject"]
        environment = {"PATH": "/usr/bin:/bin", "TZ": "UTC", "LC_ALL": "C"}
        finished = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=folder,
            env=environment,
            pass_fds=fds,
            **account.spawn,
        )
    if finished.returncode != 0:
        raise ServerFailed("initdb failed: {reason}", reason=" | ".join(finished.stderr.split("\n"))[-600:])


def start(layout: Layout, *, binaries: Binaries, account: Account, settings: dict[str, str]) -> ServerProcess:
    """Start the server and wait until it takes connections."""
    options = {**_SETTINGS, **settings, "unix_socket_directories": str(layout.run_dir)}
    with _reachable(layout.postgres_dir, account) as (path, fds):
        command: list[str | Path] = [binaries.postgres, "-D", path]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        plan = Start(
            name="PostgreSQL",
            command=command,
            folder=layout.postgres_dir,
            log=layout.log_dir / "postgres.log",
            stop_signal=signal.SIGINT,  # fast shutdown: open transactions are rolled back
            pass_fds=fds,
        )
        server = ServerProcess(plan, account=account)
    _wait_ready(server, layout)
    _finish_template(layout)
    return server


@contextmanager
def _reachable(folder: Path, account: Account) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A path of `folder` that works for `account` even when it may not enter the folders above.

    The kernel lets an open folder be named through its descriptor without walking the path that leads to it.
    """
    if account.uid is None:
        yield str(folder), ()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/", (descriptor,)
    finally:
        os.close(descriptor)


def _wait_ready(server: ServerProcess, layout: Layout) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not accepts_connections(layout):
        if server.exit_code is not None:
            raise server.failed()
        if time.monotonic() > deadline:
            server.stop(patience=5.0)
            raise ServerFailed("PostgreSQL took no connection within {seconds:.0f} s", seconds=_READY_SECONDS)
        pause()


def accepts_connections(layout: Layout) -> bool:
    """Whether the server of this folder takes connections now; asks without signing in as anybody."""
    return pq.PGconn.ping(layout.superuser_dsn.encode()) == pq.Ping.OK


def _finish_template(layout: Layout) -> None:
    """Put `vector` into template1 once: it is not a trusted extension, so the owner role could not create it."""
    complete = layout.cluster_ready_file
    if complete.exists():
        return
    with psycopg.connect(layout.dsn(SUPERUSER, database="template1"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    complete.touch(mode=0o600)


def ensure_database(superuser_dsn: str, name: str) -> None:
    """Create a database unless it exists; nobody but its owner-to-be may connect until roles are granted."""
    with psycopg.connect(superuser_dsn, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
