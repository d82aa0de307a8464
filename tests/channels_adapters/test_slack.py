"""What only Slack does."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels_adapters import errors
from channels_adapters.types import (
    Address,
    Attachment,
    AttachmentKind,
    InboundMessage,
    Part,
    QuickReply,
    Reply,
    streamed,
)
from tests.conformance import cases
from tests.support.http import SocketHttp
from tests.support.platforms.slack import FakeSlack

THREAD = Address(conversation="C1", thread="1725442341.000100", recipient="U1", extra={"team": "T1"})
ROOT = Address(conversation="C1", recipient="U1", extra={"team": "T1"})


@pytest.fixture
async def fake() -> AsyncIterator[Any]:
    async with FakeSlack() as platform:
        yield platform


@pytest.fixture
async def adapter(fake: Any) -> AsyncIterator[Any]:
    async with SocketHttp(limit=5.0) as http:
        yield cases.against(fake, http)


def part(adapter: cases.Adapter, text: str, *choices: str) -> Part:
    replies = tuple(QuickReply(label=choice, value=choice) for choice in choices)
    return adapter.render(Reply(text=text, quick_replies=replies))[-1]


def methods(fake: Any) -> list[str]:
    return [call.method.removeprefix("chat.") for call in fake.calls]


async def test_a_stream_in_a_thread_appends_only_what_is_new(fake: Any, adapter: Any) -> None:
    sent = await adapter.send(THREAD, streamed(part(adapter, "One")), key="k")
    sent = await adapter.update(THREAD, sent, part(adapter, "One **two**"), key="k")
    await adapter.finish(THREAD, sent, part(adapter, "One **two** three", "Yes"), key="k")
    assert methods(fake) == ["startStream", "appendStream", "stopStream"]
    assert [call.body.get("markdown_text") for call in fake.calls] == ["One", " **two**", " three"]
    assert fake.channels["C1"][0]["blocks"][0]["type"] == "actions"


async def test_outside_threads_a_stream_is_edited(fake: Any, adapter: Any) -> None:
    sent = await adapter.send(ROOT, streamed(part(adapter, "One")), key="k")
    await adapter.finish(ROOT, sent, part(adapter, "One two"), key="k")
    assert methods(fake) == ["postMessage", "update"]


async def test_a_workspace_without_streams_gets_edits(fake: Any, adapter: Any) -> None:
    fake.no_streams = True
    sent = await adapter.send(THREAD, streamed(part(adapter, "One")), key="k")
    await adapter.finish(THREAD, sent, part(adapter, "One two"), key="k")
    assert fake.shown("C1") == ["One two"]


@pytest.mark.parametrize("deed", ["update", "finish"])
async def test_a_stream_that_slack_closed_is_edited(fake: Any, adapter: Any, deed: Any) -> None:
    sent = await adapter.send(THREAD, streamed(part(adapter, "One")), key="k")
    fake.channels["C1"][0]["streaming"] = False
    await getattr(adapter, deed)(THREAD, sent, part(adapter, "One two"), key="k")
    assert fake.shown("C1") == ["One two"]


async def test_a_command_is_answered_through_its_own_address_while_it_lives(fake: Any, adapter: Any) -> None:
    asked = Address(conversation="C1", handle=f"{fake.base_url}/respond/C1", handle_uses=5)
    assert (await adapter.send(asked, part(adapter, "Hello"), key="k")).platform_id == ""
    fake.used_up = True
    assert (await adapter.send(asked, part(adapter, "Hello again"), key="k")).platform_id
    assert methods(fake) == ["respond", "postMessage"]


async def test_the_token_goes_to_slack_only(fake: Any, adapter: Any) -> None:
    for url in (
        "https://evil.test/a",
        "http://files.slack.com/a",
        "https://slack.com.evil.test/a",
        "http://[::1]/a",
        "",
    ):
        with pytest.raises(errors.ContentRefused):
            await adapter.fetch(Attachment(kind=AttachmentKind.FILE, url=url), max_bytes=10)
    fake.files["a"] = b"12345"
    file = Attachment(kind=AttachmentKind.FILE, url=f"{fake.base_url}/files/a")
    assert (await adapter.fetch(file, max_bytes=10)).data == b"12345"
    gone = Attachment(kind=AttachmentKind.FILE, url=f"{fake.base_url}/files/b")
    with pytest.raises(errors.ContentRefused):
        await adapter.fetch(gone, max_bytes=10)


async def test_what_cannot_be_found_again_is_said_to_be_unknown(adapter: Any, fake: Any) -> None:
    from datetime import UTC, datetime

    since = datetime.fromtimestamp(1, tz=UTC)
    for unknown in (streamed(part(adapter, "x")), Part(kind="file", payload={})):
        with pytest.raises(errors.OutcomeUnknown):
            await adapter.reconcile(ROOT, unknown, key="k", since=since)
    fake.page = 1
    for number in range(6):
        await adapter.send(ROOT, part(adapter, "x"), key=f"k{number}")
    with pytest.raises(errors.OutcomeUnknown):
        await adapter.reconcile(ROOT, part(adapter, "x"), key="none", since=since)
    found = await adapter.reconcile(ROOT, part(adapter, "x"), key="k3", since=since)
    assert found is not None


def test_buttons_under_a_long_text_are_a_message_of_their_own() -> None:
    adapter = cases.adapter("slack")
    parts = adapter.render(Reply(text="word " * 700, quick_replies=(QuickReply(label="Yes", value="y"),)))
    assert len(parts) == 2
    assert "blocks" not in parts[0].payload and "blocks" in parts[1].payload


def test_nothing_that_could_be_used_in_our_place_is_kept() -> None:
    for item in cases.inbound("slack"):
        for event in cases.adapter("slack").parse(cases.request("slack", item.body)):
            raw = getattr(event, "raw", {})
            assert not {"token", "response_url", "trigger_id"} & set(raw)


@given(words=st.text(alphabet="<>|@#!&;^aU: /\n", max_size=40))
@settings(max_examples=400, deadline=None)
def test_any_text_can_be_read(words: str) -> None:
    said = FakeSlack().said("QQQ", number=1).replace(b'"QQQ"', json.dumps(words).encode())
    (event,) = cases.adapter("slack").parse(cases.request("slack", said))
    assert isinstance(event, InboundMessage)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("<|x>", "x"),
        ("<!here> <!subteam^S1|@team> <#C1|general> <#C2> <@U2|ann>", "@here @team #general #C2 @ann"),
        ("<mailto:a@b.org|a@b.org> <tel:+1|call>", "a@b.org call (+1)"),
        ("1 &lt; 2 &amp;&amp; &amp;lt;", "1 < 2 && &lt;"),
        ("<@UBOT>, hi", "hi"),
        ("<@UBOT>", "@UBOT"),
    ],
)
def test_mrkdwn_is_read_as_people_see_it(sent: str, read: str) -> None:
    said = FakeSlack().said("QQQ", number=1).replace(b"QQQ", sent.encode())
    (event,) = cases.adapter("slack").parse(cases.request("slack", said))
    assert isinstance(event, InboundMessage)
    assert event.text == read
