"""Telegram bots. API: https://core.telegram.org/bots/api (10.0); limits: https://core.telegram.org/bots/faq

Level: complete (text, photos, files, voice, buttons, mentions, topics, edits, typing, drafts).
Telegram signs nothing and states no time: the secret header authenticates, and `update_id` is the replay guard.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import ClassVar, Literal
from urllib.parse import quote

import orjson
from pydantic import Field, SecretStr, field_validator
from typing_extensions import override

from channels_adapters import http as answers
from channels_adapters import reading, signing
from channels_adapters.base import ChannelAdapter, Credentials, HttpResponse
from channels_adapters.errors import (
    ChannelError,
    ContentRefused,
    CredentialsRevoked,
    OutcomeUnknown,
    Permanent,
    RecipientGone,
    SignatureInvalid,
    Unavailable,
)
from channels_adapters.platforms.telegram import inbound, outbound
from channels_adapters.types import (
    STREAM,
    Address,
    Attachment,
    Capabilities,
    InboundEvent,
    InboundMessage,
    Outcome,
    Part,
    Probe,
    Reply,
    SentMessage,
    WebhookRequest,
    WebhookResponse,
)

API = "https://api.telegram.org"
SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105 (a header name)
UPDATES = ("message", "edited_message", "channel_post", "edited_channel_post", "callback_query", "my_chat_member")
STATUSES: Mapping[int, type[ChannelError]] = {404: CredentialsRevoked, 409: Unavailable, 413: ContentRefused}
"""404: the path holds the token, and an unknown token has no path."""
DESCRIPTIONS: Mapping[str, type[ChannelError]] = {
    "chat not found": RecipientGone,
    "message thread not found": RecipientGone,
    "user is deactivated": RecipientGone,
    "peer_id_invalid": RecipientGone,
    "have no rights to send": RecipientGone,
    "not enough rights to send": RecipientGone,
    "group chat was upgraded": RecipientGone,
}


class TelegramCredentials(Credentials):
    """A bot and the secret that its webhook carries."""

    token: SecretStr
    """From @BotFather: `<bot id>:<key>`."""
    secret_token: SecretStr
    """1 to 256 of A-Z a-z 0-9 _ -; of several, separated by spaces, the first is registered and all are accepted."""
    username: str = Field(default="", pattern=r"^@?[A-Za-z0-9_]*$")
    """The bot's name, by which groups address it; empty: any bot's name counts."""
    respond_in_groups: Literal["mention", "all"] = "mention"

    @field_validator("secret_token")
    @classmethod
    def _tokens(cls, value: SecretStr) -> SecretStr:
        for token in signing.secrets_of(value) or ("",):
            try:
                signing.check_token(token, (token,))
            except SignatureInvalid as error:
                raise ValueError("a secret token is 1 to 256 of A-Z a-z 0-9 _ -") from error
        return value


class TelegramAdapter(ChannelAdapter[TelegramCredentials]):
    """The Bot API over webhooks; drafts in private chats, edits in groups."""

    slug = "telegram"
    name = "Telegram"
    docs_url = "https://core.telegram.org/bots/api"
    credentials_type: ClassVar[type[Credentials]] = TelegramCredentials
    capabilities = Capabilities(
        text_limit=outbound.TEXT_LIMIT,
        length_unit="utf16",
        markup="html",
        images=True,
        files=True,
        buttons=outbound.BUTTONS,
        threads=True,
        typing=True,
        typing_seconds=4.0,
        edits=True,
        stream="draft",
        stream_interval=1.0,
        sends_per_second=30.0,
        sends_per_second_per_conversation=1.0,
        auth_covers_body=False,
    )

    # ---- inbound ----

    @override
    def verify(self, request: WebhookRequest) -> None:
        if request.method != "POST":
            raise SignatureInvalid("updates are posted")
        given = signing.header(request.headers, SECRET_HEADER)
        signing.check_token(given, signing.secrets_of(self.credentials.secret_token))

    @override
    def parse(self, request: WebhookRequest) -> Sequence[InboundEvent]:
        me = inbound.Self(
            bot_id=self._bot_id,
            username=self.credentials.username.lstrip("@"),
            answer_all=self.credentials.respond_in_groups == "all",
        )
        return [inbound.read_update(reading.parse_object(request.body), me)]

    @override
    def dedupe_key(self, event: InboundEvent, request: WebhookRequest) -> str:
        raw = getattr(event, "raw", {})
        return reading.identifier(raw, "update_id") or super().dedupe_key(event, request)

    @override
    def acknowledge(
        self,
        request: WebhookRequest,
        events: Sequence[InboundEvent],
        outcomes: Sequence[Outcome],
        answer: Reply | None = None,
    ) -> WebhookResponse:
        """A pressed button keeps spinning until it is answered; the response may itself be that one call."""
        for event in events:
            if isinstance(event, InboundMessage) and event.external_id.startswith("callback:"):
                call = {"method": "answerCallbackQuery", "callback_query_id": event.external_id[9:]}
                return WebhookResponse(headers={"content-type": "application/json"}, body=orjson.dumps(call))
        return WebhookResponse()

    # ---- outbound ----

    @override
    def render(self, reply: Reply) -> Sequence[Part]:
        return outbound.parts(reply)

    @override
    async def send(self, address: Address, part: Part, *, key: str) -> SentMessage:
        if part.kind == "file":
            return await self._send_file(address, part)
        if part.payload.get(STREAM) and not _is_group(address):
            try:
                return await self._draft(address, part, key=key)
            except Permanent as error:
                if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
                    raise
                # a server without drafts, or a chat that has none: the message then grows by edits
        return await self._send_text(address, part)

    @override
    async def update(self, address: Address, sent: SentMessage, part: Part, *, key: str) -> SentMessage:
        if sent.extra.get("mode") == "draft":
            return await self._draft(address, part, key=key)
        target = {"chat_id": sent.extra.get("chat_id", address.conversation), "message_id": sent.platform_id}
        try:
            await self._formatted("editMessageText", target, part)
        except ContentRefused as error:
            if "message is not modified" not in error.detail:
                raise
        return sent

    @override
    async def finish(self, address: Address, sent: SentMessage, part: Part, *, key: str) -> SentMessage:
        """A draft is a preview that fades: what stays is the message sent now."""
        if sent.extra.get("mode") == "draft":
            return await self._send_text(address, part)
        return await self.update(address, sent, part, key=key)

    @override
    async def show_typing(self, address: Address) -> None:
        await self._call("sendChatAction", {**_target(address), "action": "typing"})

    @override
    async def fetch(self, attachment: Attachment, *, max_bytes: int) -> Attachment:
        found = reading.mapping(await self._call("getFile", {"file_id": attachment.platform_id}), "result")
        path, size = reading.text(found, "file_path"), reading.integer(found, "file_size")
        if not path or (size or 0) > max_bytes:
            raise ContentRefused("the file is gone or larger than allowed")
        url = f"{self._base}/file/bot{self._token}/{quote(path)}"
        response = await answers.download(self.http, url, max_bytes=max_bytes)
        return replace(attachment, data=response.body, size=len(response.body))

    @override
    async def install(self, webhook_url: str) -> str:
        secret = signing.secrets_of(self.credentials.secret_token)[0]
        await self._call("setWebhook", {"url": webhook_url, "secret_token": secret, "allowed_updates": list(UPDATES)})
        return f"Telegram now posts updates to {webhook_url}"

    @override
    async def probe(self) -> Probe:
        try:
            me = reading.mapping(await self._call("getMe", {}), "result")
        except ChannelError as error:
            return Probe(ok=False, detail=error.detail)
        username = reading.text(me, "username")
        return Probe(ok=bool(username), detail=f"signed in as @{username}", identity=username)

    # ---- calls ----

    @property
    def _token(self) -> str:
        return self.credentials.token.get_secret_value()

    @property
    def _bot_id(self) -> str:
        return self._token.partition(":")[0]

    @property
    def _base(self) -> str:
        return (self.credentials.api_base or API).rstrip("/")

    async def _draft(self, address: Address, part: Part, *, key: str) -> SentMessage:
        await self._formatted("sendMessageDraft", {**_target(address), "draft_id": outbound.draft_id(key)}, part)
        return SentMessage(platform_id="", extra={"mode": "draft"})

    async def _send_text(self, address: Address, part: Part) -> SentMessage:
        return _sent(await self._formatted("sendMessage", {**_target(address), **_quoting(address, part)}, part))

    async def _formatted(self, method: str, target: Mapping[str, object], part: Part) -> Mapping[str, object]:
        """Send HTML; should Telegram not read it, what a person reads of it goes out plain."""
        body: dict[str, object] = {**target, "text": part.payload["html"], "parse_mode": "HTML"}
        if "reply_markup" in part.payload and method != "sendMessageDraft":
            body["reply_markup"] = part.payload["reply_markup"]
        try:
            return await self._call(method, body)
        except ContentRefused as error:
            if "can't parse entities" not in error.detail:
                raise
        del body["parse_mode"]
        return await self._call(method, {**body, "text": part.payload["text"]})

    async def _send_file(self, address: Address, part: Part) -> SentMessage:
        payload = {name: str(value) for name, value in part.payload.items()}
        target = {**_target(address), **_quoting(address, part)}
        if "data" not in payload:
            return _sent(await self._call(payload["method"], {**target, payload["field"]: payload["source"]}))
        file = (payload["field"], payload["name"], payload["media_type"], base64.b64decode(payload["data"]))
        form = {
            name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in target.items()
        }
        response = await self.http.request("POST", self._url(payload["method"]), files=[file], form=form, timeout=60.0)
        return _sent(_check(response))

    def _url(self, method: str) -> str:
        return f"{self._base}/bot{self._token}/{method}"

    async def _call(self, method: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """One call; once more under the new id when a group has become a supergroup (the first had no effect)."""
        response = await self.http.request("POST", self._url(method), json=body)
        moved = reading.identifier(reading.mapping(answers.json_of(response), "parameters"), "migrate_to_chat_id")
        if moved and "chat_id" in body:
            return _check(await self.http.request("POST", self._url(method), json={**body, "chat_id": moved}))
        return _check(response)


def _check(response: HttpResponse) -> Mapping[str, object]:
    answer = answers.json_of(response)
    if 200 <= response.status < 300 and answer.get("ok", True) is True:
        return answer
    status = reading.integer(answer, "error_code") or response.status
    description = reading.text(answer, "description", f"Telegram answered {status}")
    known = next((kind for words, kind in DESCRIPTIONS.items() if words in description.lower()), None)
    wait = reading.number(reading.mapping(answer, "parameters"), "retry_after")
    raise answers.make_error(
        known or answers.error_for_status(status, statuses=STATUSES),
        description[:200],
        status=status,
        wait=answers.bounded_wait(wait) if wait is not None else answers.wait_from_header(response.headers),
    )


def _is_group(address: Address) -> bool:
    """Ids of groups and channels are negative."""
    return address.conversation.startswith("-")


def _target(address: Address) -> dict[str, object]:
    target: dict[str, object] = {"chat_id": address.conversation}
    if address.thread:
        target["message_thread_id"] = int(address.thread) if address.thread.isdecimal() else address.thread
    return target


def _quoting(address: Address, part: Part) -> dict[str, object]:
    """In a group the answer quotes the question; in a private chat there is nothing to tell apart."""
    chat_id, _, message_id = str(part.payload.get("reply_to", "")).partition(":")
    if not _is_group(address) or chat_id != address.conversation or not message_id.isdecimal():
        return {}
    return {"reply_parameters": {"message_id": int(message_id), "allow_sending_without_reply": True}}


def _sent(answer: Mapping[str, object]) -> SentMessage:
    message = reading.mapping(answer, "result")
    message_id = reading.identifier(message, "message_id")
    if not message_id:
        raise OutcomeUnknown("Telegram's answer names no message")
    return SentMessage(
        platform_id=message_id,
        extra={"mode": "edit", "chat_id": reading.identifier(reading.mapping(message, "chat"), "id")},
    )
