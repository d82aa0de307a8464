"""An embedded server with roles and migrated tables for this package alone, and two tenants in it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.tenants.settings")

import django
import pytest

from hub.embedded import Layout, Servers, postgres

django.setup()

from django.core.management import call_command
from django.db import connections

from tenants.db.roles import create_roles


@dataclass(frozen=True, slots=True)
class Database:
    """Where the test database is."""

    layout: Layout

    def dsn(self, role: str) -> str:
        return self.layout.dsn(role, database="hub")

    @property
    def login(self) -> str:
        return self.dsn("hub_login")

    @property
    def owner(self) -> str:
        return self.dsn("hub_owner")

    @property
    def superuser(self) -> str:
        return self.dsn("postgres")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(Layout(Path(tmp_path_factory.mktemp("tenants")) / "data"), postgres_settings={"fsync": "off"})
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def database(servers: Servers) -> Iterator[Database]:
    layout = servers.layout
    postgres.ensure_database(layout.superuser_dsn, "hub")
    create_roles(layout.superuser_dsn, prefix="hub", databases=["hub"])
    for alias, user in (("default", "hub_login"), ("owner", "hub_owner")):
        connections[alias].settings_dict.update(NAME="hub", USER=user, HOST=str(layout.run_dir), PORT="5432")
    call_command("migrate", database="owner", verbosity=0)
    yield Database(layout)
    connections.close_all()
