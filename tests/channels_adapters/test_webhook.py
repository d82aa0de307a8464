"""What only the generic channel does: answers in the response, and answers that any receiver can check."""

import json
from typing import Any

import pytest

from channels_adapters import errors
from channels_adapters.types import Address, Outcome, QuickReply, Reply
from tests.conformance import cases
from tests.support.http import SocketHttp
from tests.support.platforms.webhook import FakeProgram

PLACE = Address(conversation="c1", thread="t1")


def test_the_answer_can_be_in_the_response() -> None:
    adapter = cases.adapter("webhook", answer="inline", inline_limit=3)
    assert (adapter.capabilities.sync_reply, adapter.capabilities.sync_deadline) == ("optional", 3.0)
    request = cases.request("webhook", FakeProgram().said("hi", number=1))
    answer = Reply(text="Hello", quick_replies=(QuickReply(label="Yes", value="y"),))
    response = adapter.acknowledge(request, adapter.parse(request), [Outcome.NEW], answer)
    assert json.loads(response.body) == {
        "outcome": "new",
        "reply": "Hello",
        "quick_replies": [{"label": "Yes", "value": "y"}],
    }


def test_without_inline_nobody_waits() -> None:
    assert cases.adapter("webhook").capabilities.sync_reply == "none"
    assert type(cases.adapter("webhook")).capabilities.sync_reply == "optional"


async def test_a_callback_is_signed_with_every_secret_and_keeps_its_id() -> None:
    async with FakeProgram() as fake, SocketHttp() as http:
        other = "whsec_" + "QUJD" * 8
        adapter = cases.against(fake, http, secret=f"{other} {fake.secret}")
        part = adapter.render(Reply(text="Hello"))[0]
        for _ in range(2):
            await adapter.send(PLACE, part, key="delivery.1")
        assert {call.headers["webhook-id"] for call in fake.calls} == {"delivery_1"}
        assert fake.repeats == 1
        assert fake.answers["delivery_1"]["thread"] == "t1"


async def test_a_long_answer_is_numbered_and_the_last_part_says_so() -> None:
    async with FakeProgram() as fake, SocketHttp() as http:
        adapter = cases.against(fake, http)
        parts = adapter.render(Reply(text="word " * 40_000, quick_replies=(QuickReply(label="Y", value="y"),)))
        for index, part in enumerate(parts):
            await adapter.send(PLACE, part, key=f"k{index}")
        data = list(fake.answers.values())
        assert [item["sequence"] for item in data] == [0, 1, 2, 3]
        assert [item["final"] for item in data] == [False, False, False, True]
        assert ["quick_replies" in item for item in data] == [False, False, False, True]


async def test_without_a_callback_nothing_can_be_posted() -> None:
    with pytest.raises(errors.Unsupported):
        await cases.adapter("webhook", callback_url="").send(
            PLACE, cases.adapter("webhook").render(Reply(text="x"))[0], key="k"
        )
    assert (await cases.adapter("webhook", callback_url="").probe()).ok


async def test_files_are_fetched() -> None:
    from channels_adapters.types import Attachment, AttachmentKind

    async with FakeProgram() as fake, SocketHttp() as http:
        fake.files["a"] = b"12345"
        adapter = cases.against(fake, http)
        file = Attachment(kind=AttachmentKind.FILE, url=f"{fake.base_url}/files/a")
        assert (await adapter.fetch(file, max_bytes=5)).data == b"12345"
        with pytest.raises(errors.OutcomeUnknown):
            await adapter.fetch(file, max_bytes=4)
        with pytest.raises(errors.ContentRefused):
            await adapter.fetch(Attachment(kind=AttachmentKind.FILE, url=f"{fake.base_url}/files/b"), max_bytes=5)


@pytest.mark.parametrize(
    "changed", [{"callback_url": "ftp://x"}, {"inline_limit": 0}, {"inline_limit": 1000}, {"answer": "maybe"}]
)
def test_wrong_options_are_refused(changed: Any) -> None:
    with pytest.raises(ValueError, match="1 validation error"):
        cases.adapter("webhook", **changed)
