"""Django's settings as the environment makes them: the app's role by default, the owner for migrations only."""

from django.conf import settings
from django.db import connections

from hub.settings.databases import database as entry


def test_connections_act_as_the_app_under_policies(database: object) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT current_user, session_user, current_setting('hub.tenant_id', true)")
        assert cursor.fetchone()[:2] == ("hub_app", "hub_login")
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT current_user, current_setting('hub.maintenance')")
        assert cursor.fetchone() == ("hub_owner", "on")


def test_an_address_keeps_its_options() -> None:
    found = entry("postgresql://u:p%40ss@db.example:6543/hub?sslmode=verify-full", role="app")
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == ("u", "p@ss", "db.example", "6543")
    assert found["OPTIONS"]["sslmode"] == "verify-full"
    assert found["CONN_MAX_AGE"] == 0


def test_it_is_closed_by_default() -> None:
    assert settings.DEBUG is False
    assert "*" not in settings.ALLOWED_HOSTS
    assert settings.X_FRAME_OPTIONS == "DENY"
    assert [code for code, _ in settings.LANGUAGES] == ["en", "zh-hans"]
