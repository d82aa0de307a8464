"""An adapter says what it can do, and does what it says."""

import inspect
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from channels_adapters import registry
from channels_adapters.base import ChannelAdapter
from tests.conformance import cases
from tests.support.platforms.registry import FAKES

FLAGGED = {
    "update": lambda able: able.stream != "none",
    "finish": lambda able: able.stream != "none",
    "show_typing": lambda able: able.typing,
    "reconcile": lambda able: able.reconcile,
}
SECRETIVE = ("secret", "token", "key", "password")


@pytest.mark.parametrize("slug", cases.SLUGS)
@pytest.mark.parametrize("method", sorted(FLAGGED))
def test_flags_and_methods_agree(slug: Any, method: Any) -> None:
    kind = registry.adapter_type(slug)
    overridden = getattr(kind, method) is not getattr(ChannelAdapter, method)
    assert overridden == FLAGGED[method](kind.capabilities)


@pytest.mark.parametrize("slug", cases.SLUGS)
def test_a_fixture_file_exists(slug: Any) -> None:
    assert (cases.FIXTURES / f"{slug}.yaml").exists()
    cases.adapter(slug)


@pytest.mark.parametrize("slug", cases.PUSHED)
def test_a_pushed_channel_has_a_fake_and_recorded_cases(slug: Any) -> None:
    found = cases.fixture(slug)
    assert slug in FAKES
    assert found["inbound"] and found["outbound"] and found["errors"]
    named = {item["error"] for item in found["errors"]}
    assert {"RateLimited", "CredentialsRevoked", "RecipientGone", "Unavailable"} <= named


def test_no_fixture_without_a_channel() -> None:
    assert {path.stem for path in cases.FIXTURES.glob("*.yaml")} == set(cases.SLUGS)


@pytest.mark.parametrize("slug", cases.SLUGS)
def test_capabilities_make_sense(slug: Any) -> None:
    able = registry.adapter_type(slug).capabilities
    assert able.text_limit >= 160
    assert able.sends_per_second > 0 and able.sends_per_second_per_conversation > 0
    assert able.delivery_window > 0
    assert (able.sync_reply == "none") == (able.sync_deadline == 0)
    assert able.stream == "none" or able.stream_interval > 0
    assert not (able.stream in ("edit", "replace") and not able.edits)


@pytest.mark.parametrize("slug", cases.SLUGS)
def test_credentials_are_frozen_closed_and_secret(slug: Any) -> None:
    kind = registry.adapter_type(slug).credentials_type
    made = cases.adapter(slug).credentials
    with pytest.raises(ValidationError):
        kind(**{**cases.fixture(slug)["credentials"], "no_such_option": "1"})
    with pytest.raises(ValidationError):
        made.api_base = "https://elsewhere.test"
    for name, field in kind.model_fields.items():
        if any(name.endswith(word) for word in SECRETIVE):
            assert field.annotation is SecretStr, f"{name} must be a SecretStr"


@pytest.mark.parametrize("slug", cases.SLUGS)
def test_wrong_credentials_are_refused_without_showing_them(slug: Any) -> None:
    kind = registry.adapter_type(slug).credentials_type
    for name, value in cases.fixture(slug)["credentials"].items():
        with pytest.raises(ValidationError) as caught:
            kind(**{**cases.fixture(slug)["credentials"], name: {"deep": f"{value}-hidden"}})
        assert "-hidden" not in str(caught.value)


@pytest.mark.parametrize("slug", cases.SLUGS)
def test_inbound_and_render_are_synchronous_and_the_rest_is_not(slug: Any) -> None:
    kind = registry.adapter_type(slug)
    for name in ("verify", "parse", "dedupe_key", "acknowledge", "render", "identify"):
        assert not inspect.iscoroutinefunction(getattr(kind, name))
    for name in ("send", "update", "finish", "show_typing", "fetch", "install", "probe", "reconcile"):
        assert inspect.iscoroutinefunction(getattr(kind, name))
