"""Lists at a dose at which PostgreSQL already chooses as it would at a million: few statements, no table read whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.crowd import counted, fill, make_tenant, pages

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from tests.console.world import World

BIG = frozenset({"message", "turn", "delivery", "usage", "event", "session", "contact"})
MOST_STATEMENTS = 22
UNBOUNDED = re.compile(r"COUNT\(| OFFSET ")
Login = Callable[["User"], "Client"]


@pytest.fixture(scope="module")
def crowded(worlds: tuple[World, World], database: Any) -> Iterator[World]:
    from django.db import connections

    for number in range(20):
        make_tenant(f"crowd{number}")
    connections.close_all()
    fill(database.superuser_dsn, messages=40_000, long_session=2_000)
    yield worlds[0]


def test_each_page_asks_little_and_reads_no_table_whole(crowded: World, login: Login) -> None:
    from tenants.context import tenant_scope

    client = login(crowded.users["owner"])
    with tenant_scope(crowded.tenant.id):
        paths = pages(crowded.tenant.id)
    for name, path in paths.items():
        with counted(big=BIG) as asked:
            assert client.get(path).status_code == 200, name
        assert asked.count <= MOST_STATEMENTS, (name, asked.statements)
        assert asked.scans == [], name
        assert not [sql for sql in map(str.upper, asked.statements) if UNBOUNDED.search(sql) and " LIMIT " not in sql]


def test_pages_by_keyset_meet_every_row_once_and_lead_back(crowded: World, login: Login) -> None:
    client = login(crowded.users["owner"])
    seen: list[Any] = []
    page = client.get("/admin/hub/delivery/?status=sent")
    assert not page.context["cl"].newer
    for _number in range(4):
        seen += [row.id for row in page.context["cl"].result_list]
        page = client.get("/admin/hub/delivery/" + page.context["cl"].older)
    assert len(seen) == len(set(seen)) == 200
    third = client.get("/admin/hub/delivery/" + page.context["cl"].newer)
    assert [row.id for row in third.context["cl"].result_list] == seen[150:200]
    assert client.get("/admin/hub/delivery/?after=nonsense").status_code == 302


def test_a_list_ordered_by_a_field_that_may_be_null(crowded: World, login: Login) -> None:
    from hub.models import Session
    from tenants.context import tenant_scope

    with tenant_scope(crowded.tenant.id):
        some = list(Session.objects.order_by("id").values_list("id", flat=True)[:60])
        Session.objects.filter(id__in=some).update(last_inbound_at=None)
        total = Session.objects.count()
    client, seen, query = login(crowded.users["owner"]), [], ""
    for _number in range(total // 50 + 2):
        page = client.get(f"/admin/hub/session/{query}").context["cl"]
        seen += [row.id for row in page.result_list]
        if not (query := page.older):
            break
    assert len(seen) == len(set(seen)) == total
