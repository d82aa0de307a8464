"""What `hub doctor` looks at: one function for each thing, each answer says what to do."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import redis

from hub.cli import database
from hub.cli.output import CommandFailed
from hub.embedded import EmbeddedError, binaries, folders
from hub.embedded.account import server_account
from hub.embedded.masterkey import existing_master_key
from hub.env import Env
from tenants.db.roles import LoginRefused, check_login


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` is empty when all is well."""

    name: str
    detail: str
    remedy: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing has to be done."""
        return not self.remedy


def examine(env: Env, *, running: bool) -> Iterator[Finding]:
    """Every check in the order in which things depend on each other; the database has to be up already."""
    checks: list[Callable[[Env], Finding]] = [_programs, _data_dir, _master_key, _database, _login, _schema]
    for check in checks:
        yield check(env)
    yield _port(env) if not running else Finding("port", f"{env.site_url} is served by the running hub")
    if running or not env.embedded_valkey:
        yield _redis(env)
    else:
        yield Finding("redis", "Valkey starts with the hub")
    yield _model(env)


def _programs(env: Env) -> Finding:
    if not (env.embedded_postgres or env.embedded_valkey):
        return Finding("servers", "PostgreSQL and Redis are elsewhere")
    try:
        found = binaries.usable_by(server_account())
    except EmbeddedError as error:
        return Finding("servers", "the server programs cannot be used", str(error))
    return Finding("servers", f"programs in {found.postgres.parent}")


def _data_dir(env: Env) -> Finding:
    folder = env.layout.root
    if not folder.exists():
        return Finding("data folder", f"{folder} will be made at the first start")
    found = folder.stat()
    if found.st_uid != os.geteuid():
        return Finding("data folder", f"{folder} is another user's", "start as its owner, or set another HUB_DATA_DIR")
    if stat.S_IMODE(found.st_mode) & 0o022:
        return Finding("data folder", f"others may write into {folder}", f"chmod go-w {folder}")
    return Finding("data folder", str(folder))


def _master_key(env: Env) -> Finding:
    if env.master_key is not None:
        return Finding("master key", "from HUB_MASTER_KEY")
    try:
        key = existing_master_key(env.layout)
    except (EmbeddedError, ValueError) as error:
        return Finding("master key", "the file is damaged", str(error))
    file = env.layout.master_key_file
    if key is None and env.layout.master_key_expected_file.exists():
        return Finding("master key", f"{file} is gone", "restore it from your copy: nothing can be read without it")
    if key is None:
        return Finding("master key", f"{file} will be made at the first start")
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        return Finding("master key", f"others may read {file}", f"chmod 600 {file}")
    return Finding("master key", f"in {file}; keep a copy of it elsewhere")


def _database(env: Env) -> Finding:
    try:
        with psycopg.connect(env.direct_dsn, connect_timeout=5) as connection:
            version = connection.info.server_version // 10000
            vector = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone()
    except psycopg.OperationalError as error:
        remedy = "hub db init" if env.embedded_postgres else "check HUB_DATABASE_URL and that the server is up"
        return Finding("database", " ".join(str(error).split()), remedy)
    if version < 18:  # accept and commit read both the old and the new row in RETURNING
        return Finding("database", f"PostgreSQL {version}", "PostgreSQL 18 or newer is needed")
    if vector is None:
        return Finding("database", "pgvector is missing", "as a superuser, in this database: CREATE EXTENSION vector")
    return Finding("database", f"PostgreSQL {version} with pgvector")


def _login(env: Env) -> Finding:
    try:
        with psycopg.connect(env.direct_dsn, connect_timeout=5) as connection:
            check_login(connection)
    except LoginRefused as refused:
        return Finding("roles", "; ".join(refused.faults), refused.remedy)
    except psycopg.OperationalError:
        return Finding("roles", "not looked at", "mend the database first")
    return Finding("roles", f"{env.db_role_prefix}_login may do no more than it should")


def _schema(env: Env) -> Finding:
    if env.owner_dsn is None:
        return Finding("schema", "not looked at: HUB_DATABASE_OWNER_URL is not set here")
    try:
        waiting = database.pending(env)
    except (CommandFailed, psycopg.Error, database.DatabaseError) as error:
        return Finding("schema", " ".join(str(error).split()), "hub db init, then hub migrate")
    if waiting:
        return Finding("schema", f"{len(waiting)} migrations wait", "hub migrate")
    return Finding("schema", "up to date")


def _port(env: Env) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in env.bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((env.bind, env.port))
        except OSError as error:
            return Finding(
                "port", f"{env.bind}:{env.port}: {error.strerror}", "choose another one with PORT or HUB_BIND"
            )
    return Finding("port", f"{env.bind}:{env.port} is free")


def _redis(env: Env) -> Finding:
    try:
        with redis.Redis.from_url(env.redis, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    except redis.RedisError as error:
        return Finding("redis", " ".join(str(error).split()), "check HUB_REDIS_URL and that the server is up")
    return Finding("redis", "answers")


def _model(env: Env) -> Finding:
    if env.llm_base_url is None:
        return Finding("model", "none: answers are quoted from memory; HUB_LLM_BASE_URL plugs one in")
    parts = urlsplit(env.llm_base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError as error:
        return Finding("model", f"{env.llm_base_url}: {error}", "check HUB_LLM_BASE_URL and the way to it")
    return Finding("model", f"{env.llm_model} at {env.llm_base_url} can be reached")


def is_running(env: Env) -> bool:
    """Whether a hub holds the data folder."""
    held = folders.holder(env.layout)
    return held is not None and held[1] == folders.HUB
