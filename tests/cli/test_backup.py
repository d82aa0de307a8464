"""Backups of a foreign server: what is refused before anything is touched, and a copy in an empty database."""

import base64
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest
from psycopg import sql

from hub.embedded import Layout
from hub.embedded.postgres import ensure_database
from tenants.db.roles import create_roles
from tests.cli.conftest import Hub, one_line
from tests.cli.terminal import ROOT
from tests.conftest import PREFIX, Database


@pytest.fixture
def empty(servers: Layout, database: Database) -> Iterator[dict[str, str]]:
    """An empty database with its roles beside the worker's; the variables that lead to it."""
    name = f"{database.name}_restored"
    at = Layout(servers.data_dir, role_prefix=PREFIX, database=name)
    ensure_database(at.superuser_dsn, name)
    create_roles(at.superuser_dsn, prefix=PREFIX, databases=[name])
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        conn.execute(
            "ALTER TABLE hub_test_seeded OWNER TO hub_owner"
        )  # the tests' own; a backup is of the owner's tables
    yield {"HUB_DATABASE_URL": at.login_dsn, "HUB_DATABASE_OWNER_URL": at.owner_dsn}
    with psycopg.connect(at.superuser_dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def restore(file: Path, variables: dict[str, str], tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **variables, "HUB_DATA_DIR": str(tmp_path / "elsewhere")}
    return subprocess.run(
        [sys.executable, "-m", "hub.cli", "restore", str(file), "--json"],
        check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def changed(file: Path, to: Path, *, manifest: dict[str, object] | None = None, spoil: bool = False) -> Path:
    """A copy with another manifest, or with one bit of its dump turned."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(to, "w") as new:
        dump = bytearray(old.read("database.dump"))
        dump[len(dump) // 2] ^= spoil
        new.writestr("database.dump", bytes(dump))
        new.writestr("manifest.json", orjson.dumps(orjson.loads(old.read("manifest.json")) | (manifest or {})))
    return to


def test_a_foreign_server_is_copied_and_what_does_not_fit_is_refused(
    acme: Hub, tmp_path: Path, empty: dict[str, str]
) -> None:
    assert acme("connection", "create", "web", "--tenant", "acme", "--agent", "helper").code == 0
    file = tmp_path / "hub.zip"
    made = acme("backup", str(file), "--json").json
    assert made["rows"] > 20
    assert made["holds_master_key"] is False
    assert "is there already" in one_line(acme("backup", str(file)))
    assert acme("backup", str(file), "--force", "--json").code == 0

    def refused(path: Path, **variables: str) -> str:
        done = restore(path, empty | variables, tmp_path)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
        return done.stderr

    newer = changed(file, tmp_path / "newer.zip", manifest={"migrations": ["hub.9999_later"]})
    assert "a newer release made this backup" in refused(newer)
    assert "is damaged" in refused(changed(file, tmp_path / "spoilt.zip", spoil=True))
    wrong = base64.b64encode(b"w" * 32).decode()
    assert "not the one of the backup" in refused(file, HUB_MASTER_KEY=wrong)
    (tmp_path / "cut.zip").write_bytes(file.read_bytes()[:-100])
    assert "no complete backup" in refused(tmp_path / "cut.zip")

    done = restore(file, empty, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == made["rows"]
    assert "holds tables already" in refused(file)


def test_a_table_that_hides_rows_from_the_owner_is_no_empty_table(
    acme: Hub, tmp_path: Path, database: Database
) -> None:
    alter = "ALTER POLICY owner ON tool_call USING ({}) WITH CHECK ({})"
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        conn.execute(alter.format("false", "false"))
        try:
            line = one_line(acme("backup", str(tmp_path / "hub.zip")))
        finally:
            rule = "current_setting('hub.maintenance', true) = 'on'"
            conn.execute(alter.format(rule, rule))
    assert "may not read all rows of: tool_call" in line
    assert not list(tmp_path.iterdir())
