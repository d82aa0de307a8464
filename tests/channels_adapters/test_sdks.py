"""The platforms' own libraries as judges: of signatures both ways, of payloads, and of the fakes."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import Clock, SignatureVerifier
from standardwebhooks import Webhook, WebhookVerificationError
from telegram import Bot, Update
from telegram.error import BadRequest, Forbidden, RetryAfter, TelegramError

from channels_adapters import signing
from channels_adapters.errors import SignatureInvalid
from channels_adapters.types import Address, InboundMessage, MessageEdited, QuickReply, Reply
from tests.conformance import cases
from tests.conformance.forgeries import forgeries
from tests.support.http import SocketHttp
from tests.support.platforms.slack import FakeSlack
from tests.support.platforms.telegram import FakeTelegram

NOW = 1_725_442_341


class Fixed(Clock):
    def now(self) -> float:
        return NOW


@pytest.mark.parametrize("item", cases.inbound("slack"), ids=lambda item: item.name)
def test_slack_signatures_agree(item: Any) -> None:
    verifier = SignatureVerifier(FakeSlack.secret, clock=Fixed())
    stamp = str(NOW)
    signature = verifier.generate_signature(timestamp=stamp, body=item.body)
    ours = cases.request("slack", item.body, headers={"x-slack-signature": str(signature)}, now=NOW)
    cases.adapter("slack").verify(ours)
    assert verifier.is_valid_request(item.body, dict(ours.headers))


def test_what_slacks_verifier_refuses_we_refuse() -> None:
    """The other way round does not hold: it raises on some forgeries that we refuse."""
    verifier = SignatureVerifier(FakeSlack.secret, clock=Fixed())
    for _, forged in forgeries(cases.request("slack", b'{"type": "x"}', now=NOW), FakeSlack.auth):
        try:
            accepted = verifier.is_valid_request(forged.body, dict(forged.headers))
        except (ValueError, TypeError):
            accepted = False
        if not accepted:
            with pytest.raises(SignatureInvalid):
                cases.adapter("slack").verify(forged)


@pytest.mark.parametrize("body", ["{}", '{"text":"你好 \\ud83d"}', "x" * 10_000])
def test_standard_webhooks_agree_both_ways(body: Any) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    moment = datetime.now(tz=UTC)
    stamp = int(moment.timestamp())
    theirs = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": Webhook(secret).sign("msg_1", moment, body),
    }
    assert signing.check_standard(theirs, body.encode(), [signing.standard_key(secret)], now=stamp) == "msg_1"
    other = "whsec_" + "QUJD" * 8
    keys = [signing.standard_key(one) for one in (other, secret)]
    ours = signing.standard_headers(keys, message_id="msg_1", stamp=stamp, body=body.encode())
    assert ours["webhook-signature"].split()[1] == theirs["webhook-signature"]
    if body[0] == "{":
        Webhook(secret).verify(body, ours)
        Webhook(other).verify(body, ours)
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + "QUJE" * 8).verify(body, ours)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!!", "whsec_QUJD", "whsec_" + "QUJD" * 200])
def test_bad_webhook_secrets_are_named(secret: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        signing.standard_key(secret)


@pytest.mark.parametrize("item", cases.inbound("telegram"), ids=lambda item: item.name)
def test_telegrams_library_reads_what_we_read(item: Any) -> None:
    update = Update.de_json(json.loads(item.body), None)
    assert update is not None
    (event,) = cases.adapter("telegram").parse(cases.request("telegram", item.body))
    if isinstance(event, InboundMessage | MessageEdited):
        assert update.effective_chat is not None and str(update.effective_chat.id) == event.address.conversation
        sender = update.effective_user or update.effective_chat
        assert str(sender.id) == event.sender_id
        if not event.external_id.startswith("callback:"):
            assert update.effective_message is not None
            assert event.external_id == f"{event.address.conversation}:{update.effective_message.message_id}"


@pytest.mark.filterwarnings("ignore::telegram.warnings.PTBUserWarning", "ignore::DeprecationWarning")
async def test_telegrams_library_and_ours_do_the_same_on_the_fake() -> None:
    async with FakeTelegram() as fake, SocketHttp() as http:
        bot = Bot(fake.token, base_url=f"{fake.base_url}/bot", base_file_url=f"{fake.base_url}/file/bot")
        async with bot:
            assert bot.username == "hub_bot"
            sent = await bot.send_message(7, "<b>Hello</b>", parse_mode="HTML")
            await bot.edit_message_text("Hello again", 7, sent.message_id)
            assert await bot.send_message_draft(7, 5, "thinking")
            await bot.send_chat_action(7, "typing")
            await bot.send_document(7, b"hello", filename="a.txt")
            fake.files["F1"] = b"content"
            assert bytes(await (await bot.get_file("F1")).download_as_bytearray()) == b"content"
            await _sdk_errors(fake, bot)
        assert fake.shown("7") == ["Hello again", "[a.txt]"]
        theirs = {call.method for call in fake.calls}
        fake.calls.clear()
        adapter = cases.against(fake, http)
        await adapter.install("https://hub.test/webhooks/telegram/x")
        assert fake.webhook["secret_token"] == fake.secret
        part = adapter.render(Reply(text="**Hello**", quick_replies=(QuickReply(label="Y", value="y"),)))[0]
        done = await adapter.send(Address(conversation="7"), part, key="k")
        await adapter.update(Address(conversation="7"), done, part, key="k")
        assert {"sendMessage"} <= {call.method for call in fake.calls} & theirs


async def _sdk_errors(fake: FakeTelegram, bot: Bot) -> None:
    fake.blocked.add("8")
    with pytest.raises(Forbidden):
        await bot.send_message(8, "x")
    with pytest.raises(BadRequest, match="empty"):
        await bot.send_message(7, " ")
    with pytest.raises(BadRequest, match="parse"):
        await bot.send_message(7, "<b>x", parse_mode="HTML")
    with pytest.raises(BadRequest, match="too long"):
        await bot.send_message(7, "x" * 4097)
    fake.fail(status=429, retry_after=3, method="sendMessage")
    with pytest.raises(RetryAfter):
        await bot.send_message(7, "x")
    fake.fail(status=500, body=b"", method="sendMessage")
    with pytest.raises(TelegramError):
        await bot.send_message(7, "x")


async def test_slacks_library_and_ours_do_the_same_on_the_fake() -> None:
    import asyncio

    async with FakeSlack() as fake, SocketHttp() as http:
        client = WebClient(token=fake.token, base_url=f"{fake.base_url}/api/")
        fake.gone.add("C404")
        await asyncio.to_thread(_sdk_talk, client)
        assert fake.shown("C1") == ["Hello again", "One two three"]
        adapter = cases.against(fake, http)
        part = adapter.render(Reply(text="Ours"))[0]
        sent = await adapter.send(Address(conversation="C1"), part, key="k1")
        replies = await asyncio.to_thread(
            client.conversations_history, channel="C1", include_all_metadata=True, oldest="0"
        )
        assert replies["messages"][0]["ts"] == sent.platform_id
        assert replies["messages"][0]["metadata"]["event_payload"] == {"key": "k1"}


def _sdk_talk(client: WebClient) -> None:
    assert client.auth_test()["user_id"] == "UBOT"
    sent = client.chat_postMessage(channel="C1", text="Hello", unfurl_links=False)
    client.chat_update(channel="C1", ts=sent["ts"], text="Hello again")
    stream = client.chat_startStream(
        channel="C1", thread_ts="1.1", markdown_text="One", recipient_team_id="T1", recipient_user_id="U1"
    )
    client.chat_appendStream(channel="C1", ts=stream["ts"], markdown_text=" two")
    client.chat_stopStream(channel="C1", ts=stream["ts"], markdown_text=" three")
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        client.chat_appendStream(channel="C1", ts=stream["ts"], markdown_text=" four")
    with pytest.raises(SlackApiError, match="channel_not_found"):
        client.chat_postMessage(channel="C404", text="Hello")
