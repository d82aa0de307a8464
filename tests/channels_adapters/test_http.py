"""Statuses and waits mean one thing everywhere."""

from typing import Any

import pytest

from channels_adapters import errors
from channels_adapters.base import HttpResponse
from channels_adapters.http import bounded_wait, error_for_status, json_of, make_error, wait_from_header


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, errors.Permanent),
        (400, errors.ContentRefused),
        (401, errors.CredentialsRevoked),
        (403, errors.RecipientGone),
        (404, errors.RecipientGone),
        (408, errors.Unavailable),
        (410, errors.RecipientGone),
        (418, errors.ContentRefused),
        (429, errors.RateLimited),
        (500, errors.Unavailable),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (504, errors.OutcomeUnknown),
        (599, errors.Unavailable),
    ],
)
def test_statuses(status: Any, kind: Any) -> None:
    assert error_for_status(status) is kind
    assert error_for_status(status, statuses={status: errors.WindowClosed}) is errors.WindowClosed


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), ("0.5", 0.5), ("-3", 0.0), ("1e9", 3600.0), ("nan", None), ("soon", None), ("", None),
     ("Wed, 04 Sep 2024 09:32:31 GMT", 10.0), ("inf", 3600.0)],
)  # fmt: skip
def test_retry_after(value: Any, seconds: Any) -> None:
    assert wait_from_header({"Retry-After": value}, now=lambda: 1725442341.0) == seconds


def test_a_date_without_a_clock_says_nothing() -> None:
    assert wait_from_header({"retry-after": "Wed, 04 Sep 2024 09:32:31 GMT"}) is None
    assert wait_from_header({}) is None


def test_waits_are_bounded() -> None:
    assert bounded_wait(None) is None
    assert bounded_wait(10**9) == 3600.0


def test_only_errors_that_can_be_tried_again_carry_a_wait() -> None:
    waiting = make_error(errors.RateLimited, "x", wait=3.0, status=429, code="c")
    assert isinstance(waiting, errors.Transient)
    assert (waiting.retry_after, waiting.status, waiting.code) == (3.0, 429, "c")
    assert not hasattr(make_error(errors.RecipientGone, "x", wait=3.0), "retry_after")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"\xff", b"null"])
def test_answers_without_an_object_are_empty(body: Any) -> None:
    assert json_of(HttpResponse(status=200, headers={}, body=body)) == {}
