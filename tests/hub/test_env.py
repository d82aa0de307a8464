"""Every wrong value is named, all at once, and no value is repeated."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.embedded import EmbeddedError, Layout
from hub.embedded.masterkey import existing_master_key, master_key
from hub.env import Env, EnvError, read

KEY = base64.b64encode(bytes(range(32))).decode()
Given = Callable[..., Env]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    def set_only(**values: str) -> Env:
        for name in [name for name in os.environ if name.startswith("HUB_") or name == "PORT"]:
            monkeypatch.delenv(name)
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        return read()

    return set_only


def test_nothing_is_needed(given: Given) -> None:
    env = given()
    assert env.embedded_postgres and env.embedded_valkey
    assert env.site_url == "http://127.0.0.1:8000"
    assert (env.drain, env.memory_limit_percent, env.log_level, env.lease_seconds) == (130, 70, "INFO", 10)
    assert env.workers == 2 * (os.cpu_count() or 1)
    assert env.broker.startswith("redis+socket:///")


def test_all_problems_are_reported_at_once(given: Given) -> None:
    with pytest.raises(EnvError) as caught:
        given(
            PORT="eighty",
            HUB_DATABASE_URL="mysql://secret@db/hub",
            HUB_MASTER_KEY="secret",
            HUB_LLM_MODEL="m",
            HUB_EGRESS_ALLOW="10.0.0.0/8,nonsense",
            HUB_LOG_LEVEL="loud",
            HUB_MEMORY_LIMIT_PERCENT="200",
            HUB_CRASH_AT="here",
        )
    named = [problem.split(":")[0] for problem in caught.value.problems]
    assert named == [
        "HUB_CRASH_AT",
        "HUB_DATABASE_URL",
        "HUB_EGRESS_ALLOW",
        "HUB_LLM_BASE_URL",
        "HUB_LOG_LEVEL",
        "HUB_MASTER_KEY",
        "HUB_MEMORY_LIMIT_PERCENT",
        "PORT",
    ]
    assert "secret" not in str(caught.value)
    assert all("expected" in problem or "missing" in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"HUB_DATABASE_URL": "postgresql://h/d"}, "HUB_MASTER_KEY"),
        ({"HUB_DATABASE_POOLER": "transaction"}, "HUB_DATABASE_DIRECT_URL"),
        ({"HUB_LLM_BASE_URL": "http://127.0.0.1:1/v1"}, "HUB_LLM_MODEL"),
        ({"HUB_EMBEDDING_BASE_URL": "http://127.0.0.1:1/v1", "HUB_EMBEDDING_MODEL": "e"}, "HUB_EMBEDDING_DIMENSIONS"),
    ],
)
def test_what_belongs_together(given: Given, values: dict[str, str], missing: str) -> None:
    with pytest.raises(EnvError, match=f"^{missing}: missing"):
        given(**values)


def test_lists_and_addresses(given: Given) -> None:
    env = given(
        HUB_EGRESS_ALLOW="127.0.0.1:9000, 10.0.0.0/8 ,[::1]:80",
        HUB_ALLOWED_HOSTS="a.example,b.example",
        HUB_REDIS_URL="redis://cache:6379/1",
        HUB_PUBLIC_URL="https://hub.example.org/",
        HUB_LOG_LEVEL="debug",
        PORT="0",
    )
    assert env.egress_allow == ("127.0.0.1:9000", "10.0.0.0/8", "[::1]:80")
    assert env.allowed_hosts == ("a.example", "b.example")
    assert (env.redis, env.broker) == ("redis://cache:6379/1", "redis://cache:6379/1")
    assert env.site_url == "https://hub.example.org"
    assert env.log_level == "DEBUG"


def test_empty_means_unset(given: Given) -> None:
    assert given(HUB_DATABASE_URL="", PORT="").port == 8000


def test_secrets_are_not_shown(given: Given) -> None:
    assert KEY not in repr(given(HUB_MASTER_KEY=KEY))


def test_the_master_key_is_made_once_and_never_replaced(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    assert existing_master_key(layout) is None
    key = master_key(layout)
    assert len(key) == 32
    assert layout.master_key_file.stat().st_mode & 0o777 == 0o600
    assert master_key(layout) == key
    layout.master_key_file.unlink()
    with pytest.raises(EmbeddedError, match="restore"):
        master_key(layout)


def test_the_cookie_key_follows_the_master_key(given: Given) -> None:
    one = given(HUB_MASTER_KEY=KEY).django_secret()
    assert one == given(HUB_MASTER_KEY=KEY).django_secret()
    assert one != given(HUB_MASTER_KEY=base64.b64encode(bytes(32)).decode()).django_secret()
    assert given(HUB_SECRET_KEY="mine").django_secret() == "mine"
