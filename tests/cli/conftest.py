"""The `hub` command in this process, on the run's own database: the console script's path without a new interpreter."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from hub.cli import lookup
from hub.cli.language import ENGLISH, speak
from hub.cli.root import run
from tests.conftest import Database

if TYPE_CHECKING:
    from hub.models import Session


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


Hub = Callable[..., Done]


@pytest.fixture
def hub(clean: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["hub", *arguments])
        capsys.readouterr()
        code = 0
        try:
            run()
        except SystemExit as ended:
            code = int(ended.code or 0)
        told = capsys.readouterr()
        return Done(code, told.out, told.err)

    yield call
    speak(ENGLISH)
    from django.db import connections

    connections.close_all()


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody whose system speaks Chinese."""
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("LANGUAGE", "")
    yield
    speak(ENGLISH)


@pytest.fixture
def acme(hub: Hub) -> Hub:
    """A tenant `acme` with the agent `helper`."""
    assert hub("tenant", "create", "acme").code == 0
    assert hub("agent", "create", "helper", "--tenant", "acme").code == 0
    return hub


@pytest.fixture
def session(acme: Hub) -> "Session":
    """A session of `acme`, without messages. Models are imported here: Django is set up after this module is read."""
    from hub.models import Connection, Session
    from tenants.context import tenant_scope
    from tenants.ids import uuid7

    made = acme("connection", "create", "web", "--tenant", "acme", "--agent", "helper", "--json").json
    tenant = lookup.tenant("acme")
    with tenant_scope(tenant.id):
        connection = Connection.objects.get(id=made["id"])
        return Session.objects.create(  # type: ignore[no-any-return]
            tenant=tenant, connection=connection, subject_id=uuid7(), address_hash=b"a" * 16, address=b"x"
        )


def one_line(done: Done) -> str:
    """The one clear line of a command that failed."""
    assert done.code == 1, done
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("hub: ")
    return lines[0].removeprefix("hub: ")
