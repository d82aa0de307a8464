"""Slack apps over the Events API, interactivity and slash commands. API: https://docs.slack.dev/

Level: complete (text, files, voice, buttons, mentions, threads, edits, deletions, status, native streams).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator
from typing_extensions import override

from channels_adapters import reading, signing
from channels_adapters.base import ChannelAdapter, Credentials
from channels_adapters.errors import (
    ChannelError,
    ContentRefused,
    OutcomeUnknown,
    RecipientGone,
    Unsupported,
)
from channels_adapters.platforms.slack import calls, inbound, outbound, sending
from channels_adapters.platforms.slack.sending import WebApi
from channels_adapters.types import (
    STREAM,
    Address,
    Attachment,
    Capabilities,
    Ignored,
    InboundEvent,
    InboundMessage,
    MessageEdited,
    Outcome,
    Part,
    Probe,
    Reply,
    SentMessage,
    WebhookRequest,
    WebhookResponse,
)


class SlackCredentials(Credentials):
    """A Slack app in one workspace."""

    bot_token: SecretStr
    """`xoxb-…`"""
    signing_secret: SecretStr
    """From the app's basic information; several separated by spaces are all accepted (rotation)."""
    app_id: str = ""
    """`A…`; set: events of any other app are ignored, though they be signed."""
    team_id: str = ""
    """`T…`; set: events of any other workspace are ignored."""
    bot_user_id: str = ""
    """`U…`; empty: taken from each event."""
    respond_in_groups: Literal["mention", "all"] = "mention"
    reply_in_thread: bool = True
    """Answer a question in a channel in a thread under it."""

    @field_validator("signing_secret")
    @classmethod
    def _some(cls, value: SecretStr) -> SecretStr:
        if not signing.secrets_of(value):
            raise ValueError("at least one secret is needed")
        return value


class SlackAdapter(ChannelAdapter[SlackCredentials]):
    """The Events API in, the Web API out."""

    slug = "slack"
    name = "Slack"
    docs_url = "https://docs.slack.dev/"
    credentials_type: ClassVar[type[Credentials]] = SlackCredentials
    capabilities = Capabilities(
        text_limit=outbound.TEXT_LIMIT,
        markup="mrkdwn",
        images=True,
        files=True,
        buttons=outbound.BUTTONS,
        threads=True,
        typing=True,
        typing_seconds=60.0,
        edits=True,
        stream="append",
        stream_interval=1.0,
        reconcile=True,
        sends_per_second=20.0,
        sends_per_second_per_conversation=1.0,
    )

    # ---- inbound ----

    @override
    def verify(self, request: WebhookRequest) -> None:
        stamp = signing.header(request.headers, "x-slack-request-timestamp")
        given = signing.header(request.headers, "x-slack-signature")
        signing.check_window(stamp, request.received_unix)
        signed = b":".join((b"v0", stamp.encode(), request.body))
        signing.check_hex_sha256(given, signing.secrets_of(self.credentials.signing_secret), signed, prefix="v0=")

    @override
    def parse(self, request: WebhookRequest) -> Sequence[InboundEvent]:
        own = self.credentials
        me = inbound.Self(
            app_id=own.app_id,
            team_id=own.team_id,
            user_id=own.bot_user_id,
            answer_all=own.respond_in_groups == "all",
            in_threads=own.reply_in_thread,
            handle_hosts=frozenset({"hooks.slack.com", urlsplit(own.api_base).netloc.lower()} - {""}),
        )
        return [inbound.read_payload(inbound.read_body(request), request, me)]

    @override
    def dedupe_key(self, event: InboundEvent, request: WebhookRequest) -> str:
        """A mention comes twice, as `message` and as `app_mention`, with two event ids: the place decides."""
        if isinstance(event, InboundMessage):
            return f"{event.address.extra.get('team', '')}:{event.external_id}"
        return event.edit_id if isinstance(event, MessageEdited) else super().dedupe_key(event, request)

    @override
    def acknowledge(
        self,
        request: WebhookRequest,
        events: Sequence[InboundEvent],
        outcomes: Sequence[Outcome],
        answer: Reply | None = None,
    ) -> WebhookResponse:
        reasons = {event.reason for event in events if isinstance(event, Ignored)}
        if "url_verification" in reasons:
            challenge = reading.text(inbound.read_body(request), "challenge")
            return WebhookResponse(headers={"content-type": "text/plain; charset=utf-8"}, body=challenge.encode())
        if "block_suggestion" in reasons:
            return WebhookResponse(headers={"content-type": "application/json"}, body=b'{"options":[]}')
        return WebhookResponse()

    @override
    def identify(self, event: InboundEvent) -> str:
        """The app that the event is for."""
        return reading.text(getattr(event, "raw", {}), "api_app_id")

    # ---- outbound ----

    @override
    def render(self, reply: Reply) -> Sequence[Part]:
        return outbound.parts(reply)

    @override
    async def send(self, address: Address, part: Part, *, key: str) -> SentMessage:
        if part.kind == "file":
            return await self._api.upload(address, part)
        if part.payload.get(STREAM) and address.thread:
            try:
                return await self._api.start(address, part)
            except (Unsupported, ContentRefused):  # no stream here: the message then grows by edits
                pass
        if address.handle and not part.payload.get(STREAM):
            try:
                return await self._api.respond(address, part)
            except RecipientGone:  # the handle is used up or expired
                pass
        return await self._api.post(address, part, key=key)

    @override
    async def update(self, address: Address, sent: SentMessage, part: Part, *, key: str) -> SentMessage:
        if sent.extra.get("mode") != "append":
            return await self._api.replace(address, sent, part)
        markdown = str(part.payload["markdown"])
        rest = outbound.rest_of(markdown, sent.extra)
        if rest is None:
            await self._api.stop(address, sent, {})
            return await self._api.replace(address, sent, part)
        if not rest:
            return sent
        try:
            await self._api.call("chat.appendStream", {**sending.message(address, sent), "markdown_text": rest})
        except ContentRefused as error:
            if error.code not in sending.STALE_STREAM:
                raise
            return await self._api.replace(address, sent, part)
        return SentMessage(platform_id=sent.platform_id, extra=outbound.progress(markdown))

    @override
    async def finish(self, address: Address, sent: SentMessage, part: Part, *, key: str) -> SentMessage:
        if sent.extra.get("mode") != "append":
            return await self._api.replace(address, sent, part)
        rest = outbound.rest_of(str(part.payload["markdown"]), sent.extra)
        ending: dict[str, object] = {"metadata": sending.metadata(key), **({"markdown_text": rest} if rest else {})}
        blocks = part.payload.get("blocks")
        if isinstance(blocks, list):
            ending["blocks"] = blocks[-1:]  # the text is on screen already; only the buttons are new
        done = await self._api.stop(address, sent, ending if rest is not None else {})
        if done and rest is not None:
            return SentMessage(platform_id=sent.platform_id, extra={"mode": "edit"})
        return await self._api.replace(address, sent, part)

    @override
    async def show_typing(self, address: Address) -> None:
        """Slack shows a status in threads only; elsewhere there is nothing to show."""
        if address.thread:
            body = {"channel_id": address.conversation, "thread_ts": address.thread, "status": "is thinking…"}
            await self._api.call("assistant.threads.setStatus", body)

    @override
    async def fetch(self, attachment: Attachment, *, max_bytes: int) -> Attachment:
        data = await self._api.download(attachment, max_bytes=max_bytes)
        return replace(attachment, data=data, size=len(data))

    @override
    async def probe(self) -> Probe:
        try:
            who = await self._api.call("auth.test", {})
        except ChannelError as error:
            return Probe(ok=False, detail=error.detail)
        detail = f"signed in to {reading.text(who, 'team')} as {reading.text(who, 'user')}"
        return Probe(ok=True, detail=detail, identity=reading.text(who, "user_id"))

    @override
    async def reconcile(self, address: Address, part: Part, *, key: str, since: datetime) -> SentMessage | None:
        """Messages carry their delivery's key as metadata; streams and files do not, so nothing is known of them."""
        if part.kind != "text" or part.payload.get(STREAM) or address.handle:
            raise OutcomeUnknown("this kind of message cannot be found again")
        return await self._api.find(address, key=key, since=since)

    @property
    def _api(self) -> WebApi:
        own = self.credentials
        return WebApi(self.http, base=(own.api_base or calls.API).rstrip("/"), token=own.bot_token.get_secret_value())
