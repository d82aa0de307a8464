"""The database that tests get: migrated, the worker's own, emptied on request, and never a superuser's."""

from typing import Any

import psycopg
import redis


def count(dsn: str, query: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_it_is_migrated(database: Any) -> None:
    assert count(database.superuser_dsn, "SELECT count(*) FROM django_migrations") > 10


def test_the_login_is_narrow(database: Any) -> None:
    wide = "SELECT count(*) FROM pg_roles WHERE rolname = session_user AND (rolsuper OR rolbypassrls OR rolinherit)"
    assert count(database.login_dsn, wide) == 0
    assert count(database.owner_dsn, "SELECT count(*) FROM pg_roles WHERE rolname = session_user AND rolsuper") == 0


def test_clean_means_only_the_migrations_rows(database: Any, clean: Any, redis_url: str) -> None:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO auth_group (name) VALUES ('passing')")
    clean.truncate()
    assert count(database.superuser_dsn, "SELECT count(*) FROM auth_group") == 0
    assert count(database.superuser_dsn, "SELECT count(*) FROM django_content_type") > 0
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
