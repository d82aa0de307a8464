"""Taking a backup: one snapshot for the counts and for PostgreSQL's own dump, while everybody goes on writing."""

import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict

from hub.cli import archive
from hub.cli.archive import DUMP, Manifest, Measured, describe, key_print
from hub.cli.output import CommandFailed
from hub.embedded import binaries
from hub.embedded.masterkey import existing_master_keys
from hub.env import Env, child_environment

MAINTENANCE = "-c hub.maintenance=on -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=0"
"""As start-up options: the owner passes the policies of every table, and a long copy is not cut off."""
NEWEST_SERVER = 18
"""pg_dump of the installed wheel copies from servers up to its own release."""
LOCK_SECONDS = 60
"""How long to wait for a migration that holds a table."""
Told = Callable[[int], None]
Bar = Callable[[int], Any]

_TABLES = """
SELECT c.relname::text, CASE c.relkind WHEN 'p' THEN
           (SELECT coalesce(sum(pg_total_relation_size(i.inhrelid)), 0) FROM pg_inherits i WHERE i.inhparent = c.oid)
           ELSE pg_total_relation_size(c.oid) END::bigint
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY 1
"""

_HIDDEN = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
AND c.relrowsecurity AND NOT EXISTS (
    SELECT 1 FROM pg_policies p WHERE p.schemaname = 'public' AND p.tablename = c.relname
    AND current_user = ANY(p.roles) AND p.cmd = 'ALL' AND p.qual LIKE '%hub.maintenance%')
ORDER BY 1
"""


def take(env: Env, path: Path, *, bar: Bar) -> Manifest:
    """Write a consistent backup to `path`; the database is up. `bar(total)` gives a context whose call takes steps.

    Everything committed before the snapshot is in it, nothing of what comes later. Raises CommandFailed.
    """
    if env.owner_dsn is None:
        raise CommandFailed("HUB_DATABASE_OWNER_URL is missing: all rows are read as the owner, not as the login")
    with psycopg.connect(env.owner_dsn, options=MAINTENANCE, connect_timeout=10) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        if conn.info.server_version // 10000 > NEWEST_SERVER:
            raise CommandFailed(
                "the server is newer than PostgreSQL {version}: take the backup with its own tools",
                version=NEWEST_SERVER,
            )
        _sees_everything(conn)
        row = conn.execute("SELECT pg_export_snapshot(), now()").fetchone()
        snapshot, made_at = row or ("", None)
        tables = _tables(conn)
        with archive.writing(path) as file, bar(sum(tables.values())) as step:
            measured = _dump(file, env.owner_dsn, snapshot=snapshot, step=step, sizes=tables)
            manifest = Manifest(
                made_at=str(made_at),
                hub_version=version("agent-hub"),
                postgres=conn.info.parameter_status("server_version") or "",
                role_prefix=env.db_role_prefix,
                migrations=tuple(applied(conn)),
                tables=counts(conn),
                key_prints=tuple(key_print(key) for key in _keys(env)),
                dump_bytes=measured.bytes,
                dump_sha256=measured.sha256,
            )
            describe(file, manifest)
    return manifest


def _sees_everything(conn: psycopg.Connection[Any]) -> None:
    """A table whose policies hide rows from the owner would be copied empty, and counted empty as well."""
    hidden = [row[0] for row in conn.execute(_HIDDEN).fetchall()]
    if hidden:
        raise CommandFailed(
            "the owner may not read all rows of: {tables}; their `owner` policy is missing", tables=", ".join(hidden)
        )


def counts(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows of each table, a partitioned one counted as one; as the owner under maintenance."""
    found = {}
    for name in _tables(conn):
        row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
        found[name] = int(row[0]) if row else 0
    return found


def applied(conn: psycopg.Connection[Any]) -> list[str]:
    """The migrations that made this schema, by `app.name`."""
    rows = conn.execute("SELECT app || '.' || name FROM django_migrations ORDER BY id").fetchall()
    return [row[0] for row in rows]


def _tables(conn: psycopg.Connection[Any]) -> dict[str, int]:
    return {name: int(size) for name, size in conn.execute(_TABLES).fetchall()}


def _keys(env: Env) -> tuple[bytes, ...]:
    return env.master_keys() if env.master_key is not None else existing_master_keys(env.layout)


def _dump(file: zipfile.ZipFile, dsn: str, *, snapshot: str, step: Told, sizes: Mapping[str, int]) -> Measured:
    """Let pg_dump write into the archive; its account of what it does moves the bar."""
    options = ["--format=custom", "--compress=gzip:3", "--enable-row-security", "--no-comments", "--verbose"]
    options.append(f"--lock-wait-timeout={LOCK_SECONDS}s")
    measured = Measured(lambda _: None)
    with tool("pg_dump", [*options, f"--snapshot={snapshot}"], dsn, output=True) as process:
        said = _Listening(process.stderr, step=step, sizes=sizes)
        with file.open(zipfile.ZipInfo(DUMP), "w", force_zip64=True) as sink:
            measured.pump(_open(process.stdout), sink)
        said.join()
        if process.wait() != 0:
            raise CommandFailed("{program} failed: {reason}", program="pg_dump", reason=said.last)
    return measured


class _Listening(threading.Thread):
    """Reads what pg_dump says, so that its pipe never fills; a table that begins moves the bar by the one before."""

    def __init__(self, stream: IO[bytes] | None, *, step: Told, sizes: Mapping[str, int]) -> None:
        super().__init__(name="pg_dump-says", daemon=True)
        self._stream, self._step, self._sizes = _open(stream), step, dict(sizes)
        self.last = ""
        self.start()

    def run(self) -> None:
        """Until pg_dump ends."""
        begun = ""
        for line in self._stream:
            self.last = line.decode(errors="replace").strip()
            if "dumping contents of table" not in self.last:
                continue
            name = self.last.rpartition(".")[2].strip('"')
            self._step(self._sizes.pop(begun, 0))
            begun = next((table for table in self._sizes if name == table or name.startswith(f"{table}_2")), begun)
        self._step(sum(self._sizes.values()))


@contextmanager
def tool(name: str, options: list[str], dsn: str, *, output: bool = False) -> Iterator["subprocess.Popen[bytes]"]:
    """One of PostgreSQL's programs at work on a database; ended with the block. No secret is on its command line."""
    program = binaries.find().pg_dump.with_name(name)
    process = subprocess.Popen(
        [program, *options],
        stdin=subprocess.DEVNULL if output else subprocess.PIPE,
        stdout=subprocess.PIPE if output else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=child_environment(**{**_variables(dsn), "PGOPTIONS": MAINTENANCE, "LC_ALL": "C"}),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _variables(dsn: str) -> dict[str, str]:
    """An address as the variables that PostgreSQL's programs read: a password in arguments could be seen by all."""
    names = {option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    return {names[key]: str(value) for key, value in conninfo_to_dict(dsn).items() if key in names}


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise CommandFailed("the program was started without its pipe")
    return stream
