"""What `hub doctor` looks at: one function for each thing, each answer says what to do."""

import os
import socket
import stat
from collections.abc import Callable, Iterator

import psycopg
import redis

from hub.cli import database, soundness, working
from hub.cli.finding import Finding, bad
from hub.cli.output import CommandFailed
from hub.embedded import EmbeddedError, binaries, folders
from hub.embedded.account import server_account
from hub.embedded.masterkey import existing_master_key
from hub.env import Env
from tenants.db.roles import LoginRefused, check_login

ABOUT = 19
"""How many findings there usually are, for a progress bar."""


def examine(env: Env, *, running: bool, everything: bool = False) -> Iterator[Finding]:
    """Every check in the order in which things depend on each other; the database has to be up already."""
    places: tuple[Callable[[Env], Finding], ...] = (_programs, _data_dir, working.disk)
    stores: tuple[Callable[[Env], Finding], ...] = (_master_key, _database, _login, _schema)
    usable = True
    for check in (*places, *stores):
        found = check(env)
        usable = usable and (found.good or check in places)
        yield found
    yield _served(env) if running else _port(env)
    if running or not env.embedded_valkey:
        yield _redis(env)
    else:
        yield Finding("redis", "Valkey starts with the hub")
    yield working.model(env)
    if usable:  # else what follows could only say the same again
        yield from _stored(env, running=running, everything=everything)
    yield working.backup(env)


def _stored(env: Env, *, running: bool, everything: bool) -> Iterator[Finding]:
    """What the rows say. A statement that takes too long is a finding too: somebody waits for the answer."""
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("clock", lambda: iter([working.clock(env)])),
        ("partitions", lambda: iter([working.partitions(env)])),
        ("work", lambda: working.work(env, running=running)),
        ("references", lambda: iter([soundness.references(env)])),
        ("sealed cells", lambda: iter([soundness.cells(env, everything=everything)])),
        ("restored rows", lambda: iter([one] if (one := soundness.rows(env)) else [])),
    )
    for name, check in checks:
        try:
            yield from check()
        except psycopg.Error as error:
            yield bad(name, " ".join(str(error).split()), "see the database's log; then run hub doctor again")


def _programs(env: Env) -> Finding:
    if not (env.embedded_postgres or env.embedded_valkey):
        return Finding("servers", "PostgreSQL and Redis are elsewhere")
    try:
        found = binaries.usable_by(server_account())
    except EmbeddedError as error:
        return bad("servers", "the server programs cannot be used", str(error))
    return Finding("servers", f"programs in {found.postgres.parent}")


def _data_dir(env: Env) -> Finding:
    folder = env.layout.root
    if not folder.exists():
        return Finding("data folder", f"{folder} will be made at the first start")
    found = folder.stat()
    if found.st_uid != os.geteuid():
        return bad("data folder", f"{folder} is another user's", "start as its owner, or set another HUB_DATA_DIR")
    if stat.S_IMODE(found.st_mode) & 0o022:
        return bad("data folder", f"others may write into {folder}", f"chmod go-w {folder}")
    return Finding("data folder", str(folder))


def _master_key(env: Env) -> Finding:
    if env.master_key is not None:
        return Finding("master key", "from HUB_MASTER_KEY")
    try:
        key = existing_master_key(env.layout)
    except (EmbeddedError, ValueError) as error:
        return bad("master key", "the file is damaged", str(error))
    file = env.layout.master_key_file
    if key is None and env.layout.master_key_expected_file.exists():
        return bad("master key", f"{file} is gone", "restore it from your copy: nothing can be read without it")
    if key is None:
        return Finding("master key", f"{file} will be made at the first start")
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        return bad("master key", f"others may read {file}", f"chmod 600 {file}")
    return Finding("master key", f"in {file}; keep a copy of it elsewhere")


def _database(env: Env) -> Finding:
    try:
        with psycopg.connect(env.direct_dsn, connect_timeout=5) as connection:
            version = connection.info.server_version // 10000
            vector = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone()
    except psycopg.OperationalError as error:
        remedy = "hub db init" if env.embedded_postgres else "check HUB_DATABASE_URL and that the server is up"
        return bad("database", " ".join(str(error).split()), remedy)
    if version < 18:  # accept and commit read both the old and the new row in RETURNING
        return bad("database", f"PostgreSQL {version}", "PostgreSQL 18 or newer is needed")
    if vector is None:
        return bad("database", "pgvector is missing", "as a superuser, in this database: CREATE EXTENSION vector")
    return Finding("database", f"PostgreSQL {version} with pgvector")


def _login(env: Env) -> Finding:
    try:
        with psycopg.connect(env.direct_dsn, connect_timeout=5) as connection:
            check_login(connection)
    except LoginRefused as refused:
        return bad("roles", "; ".join(map(str, refused.faults)), refused.remedy)
    except psycopg.OperationalError:
        return bad("roles", "not looked at", "mend the database first")
    return Finding("roles", f"{env.db_role_prefix}_login may do no more than it should")


def _schema(env: Env) -> Finding:
    if env.owner_dsn is None:
        return Finding("schema", "not looked at: HUB_DATABASE_OWNER_URL is not set here")
    try:
        waiting = database.pending(env)
    except (CommandFailed, psycopg.Error, database.DatabaseError) as error:
        return bad("schema", " ".join(str(error).split()), "hub db init, then hub migrate")
    if waiting:
        return bad("schema", f"{len(waiting)} migrations wait", "hub migrate")
    return Finding("schema", "up to date")


def _served(env: Env) -> Finding:
    file = env.layout.address_file
    return Finding("port", f"{file.read_text() if file.exists() else env.site_url} is served by the running hub")


def _port(env: Env) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in env.bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((env.bind, env.port))
        except OSError as error:
            return bad("port", f"{env.bind}:{env.port}: {error.strerror}", "choose another one with PORT or HUB_BIND")
    return Finding("port", f"{env.bind}:{env.port} is free")


def _redis(env: Env) -> Finding:
    try:
        with redis.Redis.from_url(env.redis, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    except redis.RedisError as error:
        return bad("redis", " ".join(str(error).split()), "check HUB_REDIS_URL and that the server is up")
    return Finding("redis", "answers")


def is_running(env: Env) -> bool:
    """Whether a hub holds the data folder."""
    held = folders.holder(env.layout)
    return held is not None and held[1] == folders.HUB
