"""A clean hub with two tenants, and clients that are logged in. Models are imported late: settings come first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from tests.console.world import World


@pytest.fixture(scope="module", autouse=True)
def recorded_templates() -> Iterator[None]:
    """Responses carry the context that they were rendered with."""
    from django.test.utils import setup_test_environment, teardown_test_environment

    setup_test_environment()
    yield
    teardown_test_environment()


@pytest.fixture(scope="module")
def worlds(database: Any) -> Iterator[tuple[World, World]]:
    from django.db import connections

    from tests.console.world import make_world

    database.truncate()
    yield make_world("acme"), make_world("umbrella", said="umbrella asks", answer="umbrella is told")
    connections.close_all()
    database.truncate()


@pytest.fixture
def acme(worlds: tuple[World, World]) -> World:
    return worlds[0]


@pytest.fixture
def umbrella(worlds: tuple[World, World]) -> World:
    return worlds[1]


@pytest.fixture(scope="module")
def staff(worlds: Any) -> User:
    from django.contrib.auth.models import User

    from tests.console.world import PASSWORD

    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def login() -> Callable[[User], Client]:
    from django.test import Client

    def enter(user: User) -> Client:
        client = Client(SERVER_NAME="localhost")
        client.force_login(user)
        return client

    return enter
