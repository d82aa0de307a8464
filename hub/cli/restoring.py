"""Bringing a backup back: into a data folder or a database that holds nothing yet, checked before and after."""

import base64
import binascii
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

import orjson
import psycopg
import structlog

from hub.cli import database
from hub.cli.archive import DUMP, Manifest, Measured, key_print, reading
from hub.cli.dumping import MAINTENANCE, Bar, Told, counts, tool
from hub.cli.output import CommandFailed
from hub.embedded.layout import Layout
from hub.embedded.masterkey import existing_master_keys, replace_master_keys
from hub.env import Env

log = structlog.get_logger(__name__)
_KEY_FILES = {"master.key", "master.key.made"}


def restore(env: Env, path: Path, *, key_file: Path | None, bar: Bar) -> Manifest:
    """Restore the backup at `path`; refuses a place that holds something. After CommandFailed nothing is left."""
    with reading(path) as (file, manifest):
        if env.owner_dsn is None:
            raise CommandFailed("HUB_DATABASE_OWNER_URL is missing: a schema is restored as its owner")
        keys = _keys(env, key_file)
        _opens(keys, manifest)
        with bar(2 * manifest.dump_bytes) as step:
            _whole(file, manifest, step=step)
            _fits(env, manifest)
            with _fresh(env, keys):
                now = _fill(env, env.owner_dsn, file, manifest, step=step)
        _note(env.layout, replace(manifest, tables=now))
    return manifest


def _fits(env: Env, manifest: Manifest) -> None:
    if manifest.role_prefix != env.db_role_prefix:
        raise CommandFailed(
            "the backup's roles are {prefix}_*: set HUB_DB_ROLE_PREFIX to that", prefix=manifest.role_prefix
        )
    database.set_up_django()
    unknown = set(manifest.migrations) - known_migrations()
    if unknown:
        raise CommandFailed(
            "a newer release made this backup ({version}): restore it with that one", version=manifest.hub_version
        )


def known_migrations() -> set[str]:
    """The migrations that this release knows, by `app.name`."""
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(None)
    replaced = {key for one in loader.disk_migrations.values() for key in one.replaces}
    return {".".join(key) for key in (*loader.disk_migrations, *replaced)}


def _keys(env: Env, key_file: Path | None) -> tuple[bytes, ...]:
    """The master keys that shall open the restored rows: named by the operator, or already in their place."""
    if env.master_key is not None:
        return env.master_keys()
    if key_file is None:
        return existing_master_keys(env.layout)
    try:
        keys = tuple(base64.b64decode(line, validate=True) for line in key_file.read_text().split())
    except (OSError, UnicodeDecodeError, binascii.Error) as error:
        raise CommandFailed(
            "{file} is no master key file: {reason}", file=key_file, reason=type(error).__name__
        ) from error
    if not keys or any(len(key) != 32 for key in keys):
        raise CommandFailed("{file} is no master key file: a line has 32 bytes in base64", file=key_file)
    return keys


def _opens(keys: tuple[bytes, ...], manifest: Manifest) -> None:
    if not manifest.key_prints:
        return  # nothing was sealed yet
    if not keys:
        raise CommandFailed(
            "the master key is not in a backup: name your copy with --master-key, or set HUB_MASTER_KEY"
        )
    if not {key_print(key) for key in keys} & set(manifest.key_prints):
        raise CommandFailed("this master key is not the one of the backup: nothing in it could be read")


def _whole(file: zipfile.ZipFile, manifest: Manifest, *, step: Told) -> None:
    measured = Measured(step)
    try:
        with file.open(DUMP) as dump:
            measured.pump(dump)
    except (zipfile.BadZipFile, KeyError) as error:
        raise CommandFailed("the backup is damaged: {reason}", reason=error) from error
    if (measured.bytes, measured.sha256) != (manifest.dump_bytes, manifest.dump_sha256):
        raise CommandFailed("the backup is damaged: its dump is not the one that its manifest describes")


@contextmanager
def _fresh(env: Env, keys: tuple[bytes, ...]) -> Iterator[None]:
    """A place that holds nothing yet, and that holds nothing again where the block fails."""
    if not env.embedded_postgres:
        yield
        return
    layout = env.layout
    there = {one.name for one in layout.root.iterdir()} if layout.root.is_dir() else set()
    if there - _KEY_FILES:
        raise CommandFailed(
            "{folder} holds a hub already: restore into a new folder, by HUB_DATA_DIR", folder=layout.root
        )
    placed = _place_key(env, keys)
    try:
        with database.available(env, purpose="hub restore"):
            database.initialise(env)
            yield
    except BaseException:  # interrupted too: half a restore must not look like a hub
        _remove(layout, keep=there if not placed else there - _KEY_FILES)
        raise


def _place_key(env: Env, keys: tuple[bytes, ...]) -> bool:
    """Put the key where the hub looks for it, unless it is there or comes from the environment."""
    layout = env.layout
    if env.master_key is not None or not keys:
        return False
    held = existing_master_keys(layout)
    if not held:
        layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_master_keys(layout, *keys)
    elif held != keys:
        raise CommandFailed("{file} holds another key than the one you name", file=layout.master_key_file)
    layout.master_key_expected_file.touch(mode=0o600)
    return not held


def _remove(layout: Layout, *, keep: set[str]) -> None:
    for one in layout.root.iterdir():
        if one.name in keep:
            continue
        if one.is_dir():
            shutil.rmtree(one, ignore_errors=True)
        else:
            one.unlink(missing_ok=True)


def _fill(env: Env, dsn: str, file: zipfile.ZipFile, manifest: Manifest, *, step: Told) -> dict[str, int]:
    """Restore, count, bring up to date; the rows of each table at the end."""
    with psycopg.connect(dsn, options=MAINTENANCE, connect_timeout=10) as conn:
        if counts(conn):
            raise CommandFailed("this database holds tables already: restore into an empty one (hub db init makes it)")
    _run(dsn, file, step=step)
    with psycopg.connect(dsn, options=MAINTENANCE, connect_timeout=10) as conn:
        found = counts(conn)
        conn.execute("ANALYZE")
    wrong = {name for name in {*found, *manifest.tables} if found.get(name) != manifest.tables.get(name)}
    if wrong:
        raise CommandFailed("not every row came back, in: {tables}", tables=", ".join(sorted(wrong)))
    if database.pending(env):
        database.migrate(env)
    _partitions()
    database.close_connections()
    with psycopg.connect(dsn, options=MAINTENANCE, connect_timeout=10) as conn:
        return counts(conn)


def _partitions() -> None:
    """Those of the coming months: a backup may be older than the ones it holds."""
    from django.db import connections

    from tenants.apps import MONTHS_AHEAD
    from tenants.db.partitions import ensure_partitions

    ensure_partitions(connections["owner"], months_ahead=MONTHS_AHEAD)


def _run(dsn: str, file: zipfile.ZipFile, *, step: Told) -> None:
    """Feed the dump to pg_restore: all of it in one transaction, or nothing."""
    options = ["--exit-on-error", "--single-transaction", f"--dbname={_name(dsn)}"]
    with tool("pg_restore", options, dsn) as process, file.open(DUMP) as dump:
        said: list[bytes] = []
        listener = threading.Thread(target=_listen, args=(process, said), daemon=True)
        listener.start()
        try:
            Measured(step).pump(dump, process.stdin)
        except BrokenPipeError:
            step(0)  # it ended early and has said why
        _close(process)
        code = process.wait()
        listener.join()
    if code != 0:
        reason = b" ".join(said[-3:]).decode(errors="replace")[:600]
        raise CommandFailed("{program} failed: {reason}", program="pg_restore", reason=reason)


def _name(dsn: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(dsn).get("dbname") or "hub")


def _listen(process: "subprocess.Popen[bytes]", said: list[bytes]) -> None:
    if process.stderr is not None:
        said.extend(process.stderr)


def _close(process: "subprocess.Popen[bytes]") -> None:
    pipe: IO[bytes] | None = process.stdin
    try:
        if pipe is not None:
            pipe.close()
    except BrokenPipeError:
        return  # as above


def _note(layout: Layout, manifest: Manifest) -> None:
    """For `hub doctor`, until the hub is started: what has to be there."""
    try:
        layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        restored_file(layout).write_bytes(orjson.dumps(asdict(manifest)))
    except OSError as error:  # a container with a read-only root: every row was counted already
        log.info("restore_not_noted", reason=type(error).__name__)


def restored_file(layout: Layout) -> Path:
    """Present from a restore to the first start after it."""
    return layout.root / "restored.json"


def restored(layout: Layout) -> dict[str, Any] | None:
    """The manifest of the backup that was restored here and has not been served from yet."""
    try:
        found: dict[str, Any] = orjson.loads(restored_file(layout).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return found
