"""Commands as processes of their own: on a stopped hub, and beside a database that runs."""

import json
from pathlib import Path

from hub.embedded import Layout, Servers
from tests.cli.terminal import hub


def test_a_stopped_hub_is_administered_and_stays_stopped(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    made = hub("tenant", "create", "acme", "--json", data_dir=data_dir)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["slug"] == "acme"
    before = (data_dir / "master.key").read_text() if (data_dir / "master.key").exists() else ""
    rotated = hub("key", "rotate-master", "--json", data_dir=data_dir)
    assert rotated.returncode == 0, rotated.stderr
    after = (data_dir / "master.key").read_text()
    assert len(after.split()) == 1
    assert after != before
    refused = hub("chat", "--once", "hi", data_dir=data_dir)
    assert refused.returncode == 3
    assert refused.stderr.strip() == "hub: the hub does not run here: start it with hub up, or give --url"


def test_a_running_hub_is_administered_beside_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    servers = Servers(Layout(data_dir), postgres_settings={"fsync": "off"})
    servers.start(with_valkey=False)
    try:
        seeded = hub("migrate", "--demo", "--json", data_dir=data_dir)
        assert seeded.returncode == 0, seeded.stderr
        assert json.loads(seeded.stdout)["demo"]["tenant"] == "demo"
        refused = hub("key", "rotate-master", data_dir=data_dir)
        assert refused.returncode == 1
        assert "stop it first" in refused.stderr
    finally:
        servers.stop()
