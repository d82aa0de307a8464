"""Pages that say why there is no other one: nothing there, not allowed, a database that is away, a fault of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

from hub.console.admin import site
from hub.models import Session
from tests.console.world import World

Login = Callable[[User], Client]


def test_nothing_there_and_not_allowed(acme: World, staff: User, login: Login) -> None:
    client = login(acme.users["viewer"])
    missing = client.get("/admin/nothing/", headers={"accept-language": "zh-hans"})
    assert (missing.status_code, "这里什么也没有" in missing.text) == (404, True)
    refused = client.get("/admin/agents/agent/add/")
    assert (refused.status_code, "Your role does not allow it" in refused.text) == (403, True)
    reader = login(staff)
    reader.post("/admin/scope/", {"tenant": ""})
    assert "choose one in the header first" in reader.get("/admin/agents/agent/add/").text
    strict = Client(SERVER_NAME="localhost", enforce_csrf_checks=True)
    assert "The page was open for too long" in strict.post("/admin/login/", {"username": "x", "password": "y"}).text


def test_a_database_that_is_away_is_said_to_be(acme: World, database: Any) -> None:
    client = Client(SERVER_NAME="localhost", raise_request_exception=False)
    client.force_login(acme.users["owner"])
    with nobody_gets_in(database):
        page = client.get("/admin/")
    assert (page.status_code, page["Retry-After"]) == (503, "5")
    assert "The database cannot be reached" in page.text
    assert client.get("/admin/").status_code == 200


@contextmanager
def nobody_gets_in(database: Any) -> Iterator[None]:
    """This worker's database takes no more connections of the program, and has lost those that it had."""
    name, who = database.name, "SELECT rolname FROM pg_roles WHERE rolname LIKE '%%login'"
    database.rows(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    database.rows(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename IN ({who})", name
    )
    try:
        yield
    finally:
        database.rows(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
        connections.close_all()


def test_a_fault_of_ours_is_called_one(acme: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ArithmeticError("nothing that anybody should read")

    monkeypatch.setattr(site._registry[Session], "get_ordering", fails)
    client = Client(SERVER_NAME="localhost", raise_request_exception=False)
    client.force_login(acme.users["owner"])
    page = client.get("/admin/hub/session/", headers={"accept-language": "zh-hans"})
    assert page.status_code == 500
    assert "这是我们的问题" in page.text
    assert "nothing that anybody should read" not in page.text
