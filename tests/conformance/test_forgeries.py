"""Nobody gets in without the secret, and nothing that knocks makes a noise other than RequestRejected."""

from dataclasses import replace
from typing import Any

import pytest

from channels_adapters.errors import RequestRejected, SignatureInvalid
from tests.conformance import cases
from tests.conformance.forgeries import forgeries


def _real(slug: str) -> Any:
    return cases.request(slug, cases.inbound(slug)[0].body)


EVERY = [
    (slug, name, forged) for slug in cases.PUSHED for name, forged in forgeries(_real(slug), cases.fake(slug).auth)
]


@pytest.mark.parametrize(("slug", "forged"), [pytest.param(s, f, id=f"{s}-{n}") for s, n, f in EVERY])
def test_forged_requests_are_refused(slug: Any, forged: Any) -> None:
    adapter = cases.adapter(slug)
    if cases.fake(slug).auth.get("timestamp") is None and forged.method == "GET":
        pass  # an unsigned method is refused by the adapter itself
    with pytest.raises(RequestRejected):
        adapter.verify(forged)
        if forged.method == "GET":  # signed bytes cover no method everywhere, but an empty body was never signed
            adapter.parse(forged)


@pytest.mark.parametrize("slug", cases.PUSHED)
def test_at_least_twenty_kinds(slug: Any) -> None:
    assert len({name for s, name, _ in EVERY if s == slug}) >= 20


@pytest.mark.parametrize("slug", cases.PUSHED)
def test_the_real_one_is_accepted(slug: Any) -> None:
    cases.adapter(slug).verify(_real(slug))


@pytest.mark.parametrize("slug", cases.PUSHED)
@pytest.mark.parametrize("side", [-1, 1])
def test_the_edge_of_the_window_is_inside(slug: Any, side: Any) -> None:
    window = cases.fake(slug).auth.get("window", 0)
    real = _real(slug)
    moment = real.received_at.fromtimestamp(real.received_unix + side * window, tz=real.received_at.tzinfo)
    cases.adapter(slug).verify(replace(real, received_at=moment))


@pytest.mark.parametrize("slug", cases.PUSHED)
def test_old_and_new_secret_are_both_accepted_during_rotation(slug: Any) -> None:
    field, secret = _secret_field(slug)
    other = secret[:-4] + "Zzzz" if not secret.startswith("whsec_") else "whsec_" + "QUJD" * 8
    real = _real(slug)
    for both in (f"{other} {secret}", f"{secret} {other}", f"{secret},{other}"):
        cases.adapter(slug, **{field: both}).verify(real)
    with pytest.raises(SignatureInvalid):
        cases.adapter(slug, **{field: other}).verify(real)


@pytest.mark.parametrize("slug", cases.PUSHED)
@pytest.mark.parametrize("empty", ["", " ", ","])
def test_without_a_secret_there_is_no_connection(slug: Any, empty: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        cases.adapter(slug, **{_secret_field(slug)[0]: empty})


@pytest.mark.parametrize("slug", [slug for slug in cases.SLUGS if slug not in cases.PUSHED])
def test_pull_channels_take_no_webhooks(slug: Any) -> None:
    real = _real("webhook")
    with pytest.raises(SignatureInvalid):
        cases.adapter(slug).verify(real)


def _secret_field(slug: str) -> tuple[str, str]:
    """The field whose value is the fake's webhook secret."""
    secret = getattr(cases.fake(slug), "secret", "")
    return next((name, value) for name, value in cases.fixture(slug)["credentials"].items() if value == secret)
