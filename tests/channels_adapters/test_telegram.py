"""What only Telegram does."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels_adapters import errors
from channels_adapters.types import Address, Attachment, AttachmentKind, InboundMessage, Part, Reply, streamed
from tests.conformance import cases
from tests.support.http import SocketHttp
from tests.support.platforms.telegram import FakeTelegram

KINDS = ["mention", "text_mention", "bot_command", "bold"]
PRIVATE, GROUP = Address(conversation="7"), Address(conversation="-1001")


@pytest.fixture
async def fake() -> AsyncIterator[Any]:
    async with FakeTelegram() as platform:
        yield platform


@pytest.fixture
async def adapter(fake: Any) -> AsyncIterator[Any]:
    async with SocketHttp(limit=5.0) as http:
        yield cases.against(fake, http)


def part(adapter: cases.Adapter, text: str) -> Part:
    return adapter.render(Reply(text=text))[0]


async def test_a_private_stream_is_a_draft_and_ends_as_one_message(fake: Any, adapter: Any) -> None:
    sent = await adapter.send(PRIVATE, streamed(part(adapter, "One")), key="k")
    sent = await adapter.update(PRIVATE, sent, part(adapter, "One two"), key="k")
    assert list(fake.drafts.values()) == ["One two"]
    assert fake.shown("7") == []
    await adapter.finish(PRIVATE, sent, part(adapter, "One two three"), key="k")
    assert fake.shown("7") == ["One two three"]
    assert [call.method for call in fake.calls] == ["sendMessageDraft", "sendMessageDraft", "sendMessage"]
    assert len({call.body["draft_id"] for call in fake.calls[:2]}) == 1


async def test_a_group_stream_is_one_message_that_is_edited(fake: Any, adapter: Any) -> None:
    sent = await adapter.send(GROUP, streamed(part(adapter, "One")), key="k")
    await adapter.finish(GROUP, sent, part(adapter, "One two"), key="k")
    assert [call.method for call in fake.calls] == ["sendMessage", "editMessageText"]


async def test_a_server_without_drafts_gets_edits(fake: Any, adapter: Any) -> None:
    fake.no_drafts = True
    sent = await adapter.send(PRIVATE, streamed(part(adapter, "One")), key="k")
    await adapter.finish(PRIVATE, sent, part(adapter, "One two"), key="k")
    assert fake.shown("7") == ["One two"]


async def test_a_group_that_became_a_supergroup_is_followed_once(fake: Any, adapter: Any) -> None:
    fake.moved["-5"] = "-1005"
    sent = await adapter.send(Address(conversation="-5"), part(adapter, "Hello"), key="k")
    assert fake.shown("-1005") == ["Hello"]
    assert sent.extra["chat_id"] == "-1005"
    await adapter.update(Address(conversation="-5"), sent, part(adapter, "Hello again"), key="k")
    assert fake.shown("-1005") == ["Hello again"]


async def test_html_that_telegram_cannot_read_goes_out_plain(fake: Any, adapter: Any) -> None:
    broken = Part(kind="text", payload={"html": "<b>x", "text": "x"}, text="x")
    await adapter.send(PRIVATE, broken, key="k")
    assert fake.shown("7") == ["x"]


@pytest.mark.parametrize(("place", "kind"), [("gone", errors.RecipientGone), ("blocked", errors.RecipientGone)])
async def test_people_who_are_gone(fake: Any, adapter: Any, place: Any, kind: Any) -> None:
    getattr(fake, place).add("7")
    with pytest.raises(kind):
        await adapter.send(PRIVATE, part(adapter, "x"), key="k")
    with pytest.raises(kind):
        await adapter.send(PRIVATE, streamed(part(adapter, "x")), key="k")


async def test_files_are_fetched_within_their_bound(fake: Any, adapter: Any) -> None:
    fake.files["F1"] = b"x" * 1000
    file = Attachment(kind=AttachmentKind.FILE, platform_id="F1")
    assert (await adapter.fetch(file, max_bytes=1000)).data == b"x" * 1000
    with pytest.raises(errors.ContentRefused):
        await adapter.fetch(file, max_bytes=999)
    with pytest.raises(errors.ContentRefused):
        await adapter.fetch(Attachment(kind=AttachmentKind.FILE, platform_id="F2"), max_bytes=10)


def test_without_a_name_any_bots_name_counts_in_groups() -> Any:
    def addressed(text: str, **options: str) -> bool:
        message = {
            "message_id": 1, "chat": {"id": -1, "type": "group"}, "from": {"id": 7, "is_bot": False}, "text": text,
            "entities": [{"type": "mention", "offset": 0, "length": len(text.split()[0])}],
        }  # fmt: skip
        adapter = cases.adapter("telegram", **options)
        body = json.dumps({"update_id": 1, "message": message}).encode()
        (event,) = adapter.parse(cases.request("telegram", body))
        assert isinstance(event, InboundMessage)
        return event.addressed

    assert addressed("@some_bot hi", username="") and not addressed("@ann hi", username="")
    assert not addressed("@some_bot hi", username="hub_bot")
    assert addressed("@ann hi", respond_in_groups="all")


@given(words=st.text(max_size=30), start=st.integers(-5, 40), size=st.integers(-5, 40), kind=st.sampled_from(KINDS))
@settings(max_examples=300, deadline=None)
def test_any_entity_can_be_read(words: str, start: int, size: int, kind: str) -> None:
    update = json.loads(FakeTelegram().said("x" + words, number=1, conversation="-1"))
    update["message"]["entities"] = [{"type": kind, "offset": start, "length": size}]
    (event,) = cases.adapter("telegram").parse(cases.request("telegram", json.dumps(update).encode()))
    assert isinstance(event, InboundMessage)
    assert event.text
