"""What `hub doctor` looks at: one function for each thing, each answer says what to do."""

import errno
import http.client
import os
import socket
import stat
from collections.abc import Callable, Iterator

import psycopg
import redis

from hub.cli import database, refusals, soundness, working
from hub.cli.finding import Finding, bad
from hub.cli.output import CommandFailed
from hub.cli.words import Phrase, Words
from hub.embedded import EmbeddedError, binaries, folders
from hub.embedded.account import server_account
from hub.embedded.masterkey import existing_master_key
from hub.env import Env
from hub.phrase import marked
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
        yield Finding("redis", Phrase("Valkey starts with the hub"))
    yield working.model(env)
    if usable:  # else what follows could only say the same again
        yield from _stored(env, running=running, everything=everything)
    yield working.backup(env)


def _stored(env: Env, *, running: bool, everything: bool) -> Iterator[Finding]:
    """What the rows say. A statement that takes too long is a finding too: somebody waits for the answer."""
    database.set_up_django()  # sealed cells are opened with its settings; the schema's check has no need of them
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("clock", lambda: iter([working.clock(env)])),
        ("partitions", lambda: iter([working.partitions(env)])),
        (marked("work"), lambda: working.work(env, running=running)),
        ("references", lambda: iter([soundness.references(env)])),
        ("sealed cells", lambda: iter([soundness.cells(env, everything=everything)])),
        ("restored rows", lambda: iter([one] if (one := soundness.rows(env)) else [])),
    )
    for name, check in checks:
        try:
            yield from check()
        except psycopg.Error as error:
            yield bad(name, _one_line(error), Phrase("see the database's log; then run hub doctor again"))


def _programs(env: Env) -> Finding:
    if not (env.embedded_postgres or env.embedded_valkey):
        return Finding("servers", Phrase("PostgreSQL and Redis are elsewhere"))
    try:
        found = binaries.usable_by(server_account())
    except EmbeddedError as error:
        return bad("servers", Phrase("the server programs cannot be used"), error.phrase)
    return Finding("servers", Phrase("programs in {folder}", folder=found.postgres.parent))


def _data_dir(env: Env) -> Finding:
    folder = env.layout.root
    if not folder.exists():
        return Finding("data folder", Phrase("{path} will be made at the first start", path=folder))
    found = folder.stat()
    if env.master_key is not None and not (env.embedded_postgres or env.embedded_valkey):
        # Nothing but caches is in it. A volume that an orchestrator made is root's, and its group may write.
        if not os.access(folder, os.W_OK | os.X_OK):
            told = Phrase("{path} may not be written to", path=folder)
            return bad("data folder", told, Phrase("mount something writable over it"))
        return Finding("data folder", Phrase("{path}, for caches only", path=folder))
    if found.st_uid != os.geteuid():
        remedy = Phrase("start as its owner, or set another HUB_DATA_DIR")
        return bad("data folder", Phrase("{path} is another user's", path=folder), remedy)
    if stat.S_IMODE(found.st_mode) & 0o022:
        return bad("data folder", Phrase("others may write into {path}", path=folder), f"chmod go-w {folder}")
    return Finding("data folder", str(folder))


def _master_key(env: Env) -> Finding:
    if env.master_key is not None:
        return Finding("master key", Phrase("from HUB_MASTER_KEY"))
    try:
        key = existing_master_key(env.layout)
    except (EmbeddedError, ValueError) as error:
        remedy = error.phrase if isinstance(error, EmbeddedError) else _one_line(error)
        return bad("master key", Phrase("the file is damaged"), remedy)
    file = env.layout.master_key_file
    if key is None and env.layout.master_key_expected_file.exists():
        remedy = Phrase("restore it from your copy: nothing can be read without it")
        return bad("master key", Phrase("{path} is gone", path=file), remedy)
    if key is None:
        return Finding("master key", Phrase("{path} will be made at the first start", path=file))
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        return bad("master key", Phrase("others may read {path}", path=file), f"chmod 600 {file}")
    return Finding("master key", Phrase("in {path}; keep a copy of it elsewhere", path=file))


def _database(env: Env) -> Finding:
    try:
        with psycopg.connect(env.direct_dsn, connect_timeout=5) as connection:
            version = connection.info.server_version // 10000
            vector = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone()
    except psycopg.OperationalError as error:
        remedy: Words = "hub db init"
        if not env.embedded_postgres:
            remedy = Phrase("check {variable} and that the server is up", variable="HUB_DATABASE_URL")
        return bad("database", _one_line(error), remedy)
    if version < 18:  # accept and commit read both the old and the new row in RETURNING
        return bad("database", f"PostgreSQL {version}", Phrase("PostgreSQL 18 or newer is needed"))
    if vector is None:
        remedy = Phrase("as a superuser, in this database: CREATE EXTENSION vector")
        return bad("database", Phrase("pgvector is missing"), remedy)
    return Finding("database", Phrase("PostgreSQL {version} with pgvector", version=version))


def _login(env: Env) -> Finding:
    try:
        with psycopg.connect(env.direct_dsn, connect_timeout=5) as connection:
            check_login(connection)
    except LoginRefused as refused:
        return bad("roles", refusals.login_faults(refused), Phrase(refused.remedy))
    except psycopg.OperationalError:
        return bad("roles", Phrase("not looked at"), Phrase("mend the database first"))
    return Finding("roles", Phrase("{login} may do no more than it should", login=f"{env.db_role_prefix}_login"))


def _schema(env: Env) -> Finding:
    if env.owner_dsn is None:
        return Finding("schema", Phrase("not looked at: HUB_DATABASE_OWNER_URL is not set here"))
    try:
        waiting = database.pending(env)
    except (CommandFailed, psycopg.Error, database.DatabaseError) as error:
        told = error.phrase if isinstance(error, CommandFailed) else _one_line(error)
        return bad("schema", told, Phrase("hub db init, then hub migrate"))
    if waiting:
        return bad("schema", Phrase("{count} migrations wait", count=len(waiting)), "hub migrate")
    return Finding("schema", Phrase("up to date"))


def _served(env: Env) -> Finding:
    file = env.layout.address_file
    address = file.read_text() if file.exists() else env.site_url
    return Finding("port", Phrase("{address} is served by the running hub", address=address))


def _port(env: Env) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in env.bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((env.bind, env.port))
        except OSError as error:
            address = f"{env.bind}:{env.port}"
            # Beside a role whose servers are elsewhere, as in its container. An embedded hub that runs holds its data
            # folder, so who answers there is another one.
            if error.errno == errno.EADDRINUSE and not env.embedded_postgres and _is_ours(env):
                return Finding("port", Phrase("{address} is served by the hub", address=address))
            return bad("port", f"{address}: {error.strerror}", Phrase("choose another one with PORT or HUB_BIND"))
    return Finding("port", Phrase("{address} is free", address=f"{env.bind}:{env.port}"))


def _is_ours(env: Env) -> bool:
    """Whether a process of the hub answers on our port."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(env.bind, env.bind)  # noqa: S104 - compared, not bound
    asked = http.client.HTTPConnection(here, env.port, timeout=5)
    try:
        asked.request("GET", "/health/live")
        return asked.getresponse().read(64) == b'{"status":"live"}'
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def _redis(env: Env) -> Finding:
    try:
        with redis.Redis.from_url(env.redis, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    except redis.RedisError as error:
        remedy = Phrase("check {variable} and that the server is up", variable="HUB_REDIS_URL")
        return bad("redis", _one_line(error), remedy)
    return Finding("redis", Phrase("answers"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def is_running(env: Env) -> bool:
    """Whether a hub holds the data folder."""
    held = folders.holder(env.layout)
    return held is not None and held[1] == folders.HUB
