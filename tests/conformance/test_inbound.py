"""What comes in means the same every time, and what cannot be read is refused quietly."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from channels_adapters.errors import PayloadMalformed
from channels_adapters.types import Ignored, InboundMessage, Outcome
from tests.conformance import cases

RECORDED = list(cases.every_inbound())


@pytest.fixture(params=RECORDED, ids=lambda item: item.id)
def recorded(request: Any) -> Any:
    return request.param


def test_recorded_requests_are_authentic_and_mean_what_is_written(recorded: Any) -> None:
    adapter = cases.adapter(recorded.slug)
    request = cases.request(recorded.slug, recorded.body, headers=recorded.headers)
    adapter.verify(request)
    events = adapter.parse(request)
    assert cases.matches(events, recorded.expected["events"]), events
    if "dedupe_key" in recorded.expected:
        assert adapter.dedupe_key(events[0], request) == recorded.expected["dedupe_key"]


def test_parsing_twice_gives_the_same(recorded: Any) -> None:
    adapter = cases.adapter(recorded.slug)
    request = cases.request(recorded.slug, recorded.body)
    first, second = adapter.parse(request), adapter.parse(request)
    assert first == second
    assert [adapter.dedupe_key(event, request) for event in first] == [
        adapter.dedupe_key(event, request) for event in second
    ]


def test_a_later_redelivery_has_the_same_key(recorded: Any) -> None:
    adapter = cases.adapter(recorded.slug)
    once = cases.request(recorded.slug, recorded.body)
    again = cases.request(recorded.slug, recorded.body, now=once.received_unix + 4000, headers=recorded.headers)
    adapter.verify(again)
    keys = [[adapter.dedupe_key(event, it) for event in adapter.parse(it)] for it in (once, again)]
    assert keys[0] == keys[1]


def test_twenty_at_once_have_one_key(recorded: Any) -> None:
    adapter = cases.adapter(recorded.slug)
    request = cases.request(recorded.slug, recorded.body)
    with ThreadPoolExecutor(20) as pool:
        keys = set(pool.map(lambda _: tuple(adapter.dedupe_key(e, request) for e in adapter.parse(request)), range(20)))
    assert len(keys) == 1


@pytest.mark.parametrize("outcome", list(Outcome))
def test_everything_authentic_is_acknowledged_with_2xx(recorded: Any, outcome: Any) -> None:
    adapter = cases.adapter(recorded.slug)
    request = cases.request(recorded.slug, recorded.body)
    events = adapter.parse(request)
    response = adapter.acknowledge(request, events, [outcome] * len(events))
    assert 200 <= response.status < 300
    if outcome is Outcome.NEW and "response" in recorded.expected:
        assert json.loads(response.body) == recorded.expected["response"]
    if "response_text" in recorded.expected:
        assert response.body.decode() == recorded.expected["response_text"]


def test_truncated_bodies_never_raise_anything_else(recorded: Any) -> None:
    adapter = cases.adapter(recorded.slug)
    for end in range(0, len(recorded.body), max(len(recorded.body) // 40, 1)):
        _quiet(adapter, recorded.slug, recorded.body[:end])


@pytest.mark.parametrize("slug", cases.PUSHED)
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"5", b'"x"', b"{}", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000, b"NaN",
     b"payload=%00", b'{"type":{}}', b'{"message":5}', b'{"event":[]}', b'{"data":null}', b'{"update_id":1e400}',
     b'{"x":"\\ud800"}'],
)  # fmt: skip
def test_foreign_bodies_never_raise_anything_else(slug: Any, body: Any) -> None:
    _quiet(cases.adapter(slug), slug, body)


@pytest.mark.parametrize(("slug", "body"), [(s, b) for s in cases.SLUGS for b in cases.fixture(s).get("malformed", ())])
def test_broken_payloads_are_named_so(slug: Any, body: Any) -> Any:
    with pytest.raises(PayloadMalformed):
        cases.adapter(slug).parse(cases.request(slug, json.dumps(body).encode()))


@pytest.mark.parametrize(("slug", "body"), [(s, b) for s in cases.SLUGS for b in cases.fixture(s).get("foreign", ())])
def test_another_application_inside_an_authentic_body_is_ignored(slug: Any, body: Any) -> Any:
    adapter = cases.adapter(slug)
    request = cases.request(slug, json.dumps(body).encode())
    adapter.verify(request)
    events = adapter.parse(request)
    assert [event.reason for event in events if isinstance(event, Ignored)] == ["foreign_application"]
    assert adapter.acknowledge(request, events, [Outcome.IGNORED]).status == 200


@pytest.mark.parametrize("slug", cases.PUSHED)
@pytest.mark.parametrize(
    "text", ["plain", "ünï 你好 👩‍👩‍👧", 'a/b\\c "q"', "line\r\nline", "<b>&amp;", "\u0000", "\u2028"]
)
def test_escapes_and_line_ends_survive(slug: Any, text: Any) -> None:
    """Bodies are signed as they are, whichever way the sender escapes them; a second way means the same."""
    said = json.loads(cases.fake(slug).said("QQQ", number=1))
    for escaped in (True, False):
        for slash in (True, False):
            body = json.dumps(said, ensure_ascii=escaped, indent=1).replace("\n", "\r\n")
            typed = json.dumps(cases.fake(slug).typed(text), ensure_ascii=escaped)
            body = body.replace('"QQQ"', typed.replace("/", "\\/" if slash else "/"))
            request = cases.request(slug, body.encode())
            adapter = cases.adapter(slug)
            adapter.verify(request)
            (event,) = adapter.parse(request)
            assert isinstance(event, InboundMessage)
            assert event.text == text


@pytest.mark.parametrize("slug", cases.PUSHED)
def test_a_lone_surrogate_is_a_message_not_a_failure(slug: Any) -> None:
    body = cases.fake(slug).said("QQQ", number=1).replace(b"QQQ", b"a\\ud800b")
    (event,) = cases.adapter(slug).parse(cases.request(slug, body))
    assert isinstance(event, InboundMessage)


@pytest.mark.parametrize("slug", cases.PUSHED)
def test_different_messages_have_different_keys(slug: Any) -> None:
    adapter, platform = cases.adapter(slug), cases.fake(slug)
    requests = [cases.request(slug, platform.said("same", number=number)) for number in range(1, 60)]
    assert len({adapter.dedupe_key(adapter.parse(request)[0], request) for request in requests}) == 59


def _quiet(adapter: Any, slug: Any, body: Any) -> None:
    request = cases.request(slug, b"{}")
    request = type(request)(**{**{name: getattr(request, name) for name in request.__slots__}, "body": body})
    try:
        events = adapter.parse(request)
    except PayloadMalformed:
        return
    for event in events:
        assert isinstance(adapter.dedupe_key(event, request), str)
