"""What goes out is what the platform documents, and every way it can fail has its name."""

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels_adapters import errors
from channels_adapters.text import length
from channels_adapters.types import Address, Attachment, AttachmentKind, Part, QuickReply, Reply, streamed
from tests.conformance import cases
from tests.support.http import SocketHttp
from tests.support.platforms.registry import FAKES

OUTBOUND = [(slug, item) for slug in cases.PUSHED for item in cases.fixture(slug)["outbound"]]
ERRORS = [(slug, item) for slug in cases.PUSHED for item in cases.fixture(slug)["errors"]]
LONG = "\n\n".join(
    f"Paragraph {number} with **bold**, `code` & <signs> 你好 👩‍👩‍👧. " * 12
    + "\n\n```python\nx = 1\n"
    + "y = 2\n" * 40
    + "```"
    for number in range(60)
)
PLACES = {"telegram": "7", "slack": "C1", "webhook": "c1"}


@pytest.fixture(params=cases.PUSHED)
async def place(request: Any) -> AsyncIterator[Any]:
    """A started platform and an adapter that talks to it."""
    async with FAKES[request.param]() as platform, SocketHttp(limit=5.0) as http:
        yield platform, cases.against(platform, http)


def part_of(adapter: cases.Adapter, text: str = "Hello") -> Part:
    return adapter.render(Reply(text=text))[0]


def somewhere(platform: Any) -> Address:
    return Address(conversation=PLACES.get(platform.slug, "c1"))


@pytest.mark.parametrize(("slug", "item"), [pytest.param(s, i, id=f"{s}-{i['name']}") for s, i in OUTBOUND])
async def test_replies_become_the_documented_calls(slug: Any, item: Any) -> None:
    async with FAKES[slug]() as platform, SocketHttp() as http:
        adapter = cases.against(platform, http)
        address = cases.address_of(item["address"])
        for index, part in enumerate(adapter.render(cases.reply_of(item["reply"]))):
            await adapter.send(address, part, key=f"key-{index}")
        assert [call.method for call in platform.calls] == [call["method"] for call in item["calls"]]
        for call, expected in zip(platform.calls, item["calls"], strict=True):
            assert cases.matches(call.body, expected["body"]), call.body
        if "shown" in item:
            assert platform.shown(address.conversation) == item["shown"]


@pytest.mark.parametrize(
    ("slug", "item"), [pytest.param(s, i, id=f"{s}-{n}-{i['status']}-{i['error']}") for n, (s, i) in enumerate(ERRORS)]
)
async def test_answers_become_errors(slug: Any, item: Any) -> None:
    async with FAKES[slug]() as platform, SocketHttp() as http:
        body = json.dumps(item["json"]).encode() if "json" in item else str(item.get("body", "")).encode()
        platform.fail(status=item["status"], body=body, headers=item.get("headers", {}))
        adapter = cases.against(platform, http)
        with pytest.raises(errors.ChannelError) as caught:
            await adapter.send(somewhere(platform), part_of(adapter), key="k")
    assert type(caught.value).__name__ == item["error"]
    if "retry_after" in item:
        assert caught.value.retry_after == item["retry_after"]  # type: ignore[attr-defined]


async def test_a_refused_connection_had_no_effect(place: Any) -> None:
    platform, adapter = place
    await platform.refuse()
    with pytest.raises(errors.NotConnected):
        await adapter.send(somewhere(platform), part_of(adapter), key="k")
    await platform.listen()
    await adapter.send(somewhere(platform), part_of(adapter), key="k")
    assert len(platform.shown(somewhere(platform).conversation)) == 1


@pytest.mark.parametrize("fault", [{"hang": "before"}, {"hang": "after"}, {"drop": "before"}, {"drop": "after"}])
@pytest.mark.parametrize("slug", cases.PUSHED)
async def test_no_answer_is_an_unknown_outcome(slug: Any, fault: Any) -> None:
    async with FAKES[slug]() as platform, SocketHttp(limit=0.2) as http:
        platform.fail(**fault)
        adapter = cases.against(platform, http)
        with pytest.raises(errors.OutcomeUnknown):
            await adapter.send(somewhere(platform), part_of(adapter), key="k")
        assert len(platform.shown(somewhere(platform).conversation)) == (1 if "after" in fault.values() else 0)


async def test_a_repeated_delivery_is_recognised_where_the_channel_says_so(place: Any) -> None:
    platform, adapter = place
    if adapter.capabilities.idempotency == "none":
        return
    part = part_of(adapter)
    for _ in range(3):
        await adapter.send(somewhere(platform), part, key="same")
    assert len(platform.shown(somewhere(platform).conversation)) == 1


async def test_an_unknown_outcome_is_resolved_where_the_channel_says_so(place: Any) -> None:
    platform, adapter = place
    if not adapter.capabilities.reconcile:
        return
    part, address = part_of(adapter), somewhere(platform)
    since = datetime.fromtimestamp(1, tz=UTC)
    assert await adapter.reconcile(address, part, key="k1", since=since) is None
    sent = await adapter.send(address, part, key="k1")
    await adapter.send(address, part, key="k2")
    found = await adapter.reconcile(address, part, key="k1", since=since)
    assert found is not None and found.platform_id == sent.platform_id


@pytest.mark.parametrize("conversation", ["private", "group"])
async def test_a_streamed_message_grows_and_ends_as_the_whole_text(place: Any, conversation: Any) -> None:
    platform, adapter = place
    if adapter.capabilities.stream == "none":
        return
    kinds = {"telegram": ("7", "-1001"), "slack": ("D1", "C1")}
    name = kinds[platform.slug][conversation == "group"]
    thread = {"slack": "1725442341.000100"}.get(platform.slug, "")
    address = Address(conversation=name, thread=thread, recipient="U1", extra={"team": "T1"})
    whole = "Hello **you**, this grows & grows.\n\n- one\n- two\n\n```py\nx = 1 < 2\n```"
    sent = await adapter.send(address, streamed(part_of(adapter, whole[:5])), key="k")
    for end in range(8, len(whole), 7):
        sent = await adapter.update(address, sent, part_of(adapter, whole[:end]), key="k")
        sent = await adapter.update(address, sent, part_of(adapter, whole[:end]), key="k")  # nothing new
    final = part_of(adapter, whole)
    done = await adapter.finish(address, sent, final, key="k")
    assert done.platform_id
    shown = platform.shown(name)
    assert len(shown) == 1
    assert shown[0] in (final.text, final.payload.get("text"), final.payload.get("markdown"))


async def test_a_stream_whose_beginning_changes_is_written_anew(place: Any) -> None:
    platform, adapter = place
    if adapter.capabilities.stream == "none":
        return
    address = Address(
        conversation=PLACES[platform.slug], thread={"slack": "1.1"}.get(platform.slug, ""), recipient="U1"
    )
    sent = await adapter.send(address, streamed(part_of(adapter, "One two three")), key="k")
    sent = await adapter.update(address, sent, part_of(adapter, "Other words"), key="k")
    await adapter.finish(address, sent, part_of(adapter, "Other words at last"), key="k")
    assert platform.shown(address.conversation) == ["Other words at last"]


async def test_probe_tells_the_truth(place: Any) -> None:
    platform, adapter = place
    assert (await adapter.probe()).ok
    platform.fail(status=401, times=5)
    assert not (await adapter.probe()).ok
    await platform.refuse()
    assert not (await adapter.probe()).ok


async def test_typing_is_shown_where_the_channel_can(place: Any) -> None:
    platform, adapter = place
    if adapter.capabilities.typing:
        await adapter.show_typing(Address(conversation=PLACES[platform.slug], thread="1"))
        assert len(platform.calls) == 1


@pytest.mark.parametrize("slug", cases.SLUGS)
@pytest.mark.parametrize(
    "text",
    [
        LONG,
        "word " * 20_000,
        "x" * 50_000,
        "好" * 30_000,
        "👩‍👩‍👧" * 9_000,
        "`" * 9_000,
        "| a | b |\n|-|-|\n" + "| c | d |\n" * 2_000,
    ],
)
def test_long_replies_stay_within_the_limit(slug: Any, text: Any) -> None:
    adapter = cases.adapter(slug)
    able = adapter.capabilities
    parts = adapter.render(Reply(text=text))
    assert parts
    assert all(length(part.text, able.length_unit) <= able.text_limit for part in parts)
    assert all(sign < "\ud800" or sign > "\udfff" for part in parts for sign in part.text[:1] + part.text[-1:])


@pytest.mark.parametrize("slug", [slug for slug in cases.PUSHED if cases.adapter(slug).capabilities.stream != "none"])
def test_finished_parts_of_a_growing_reply_do_not_change(slug: str) -> None:
    """While an answer streams, only its last part is still open."""
    adapter = cases.adapter(slug)
    before: list[str] = []
    for end in range(100, 30_000, 397):
        texts = [part.text for part in adapter.render(Reply(text=LONG[:end]))]
        assert texts[: max(len(before) - 1, 0)] == before[:-1]
        before = texts
    assert len(before) > 3


@pytest.mark.parametrize("slug", cases.PUSHED)
async def test_long_replies_are_taken_by_the_platform(slug: Any) -> None:
    async with FAKES[slug]() as platform, SocketHttp() as http:
        adapter = cases.against(platform, http)
        parts = adapter.render(Reply(text=LONG, quick_replies=(QuickReply(label="Yes", value="y"),)))
        for index, part in enumerate(parts):
            await adapter.send(somewhere(platform), part, key=f"k{index}")
        assert len(platform.shown(somewhere(platform).conversation)) == len(parts)


@pytest.mark.parametrize("slug", cases.SLUGS)
@given(text=st.text(max_size=300), labels=st.lists(st.text(max_size=90), max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_reply_renders_the_same_twice_and_can_be_stored(slug: Any, text: Any, labels: Any) -> None:
    adapter = cases.adapter(slug)
    choices = tuple(QuickReply(label=label, value=label) for label in labels)
    file = Attachment(kind=AttachmentKind.FILE, name="a.bin", data=b"\x00\xff")
    reply = Reply(text=text, quick_replies=choices, attachments=(file,))
    parts = adapter.render(reply)
    assert parts == adapter.render(reply)
    for part in parts:
        assert json.loads(json.dumps(part.payload)) == part.payload


async def test_no_secret_shows_in_errors_or_logs(place: Any, caplog: Any) -> None:
    platform, adapter = place
    caplog.set_level(logging.DEBUG)
    secrets = [value for name, value in platform.credentials().items() if name in SECRET_FIELDS]
    seen = [repr(adapter.credentials), str(adapter.credentials), repr(adapter), str(adapter.credentials.model_dump())]
    for status in (400, 401, 403, 404, 429, 500, 301):
        platform.fail(status=status)
        with pytest.raises(errors.ChannelError) as caught:
            await adapter.send(somewhere(platform), part_of(adapter), key="k")
        seen += [str(caught.value), repr(caught.value), caught.value.detail]
    seen.append(caplog.text)
    assert secrets
    assert not [secret for secret in secrets for text in seen if secret in text]


SECRET_FIELDS = {"token", "bot_token", "secret_token", "signing_secret", "secret", "password", "api_key", "app_secret"}
