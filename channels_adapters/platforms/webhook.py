"""Generic signed webhook: any program that can sign a request. Both directions follow Standard Webhooks.

Specification: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
Level: complete (text, attachments by URL, quick replies, threads, answers in the response).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import orjson
from pydantic import Field, SecretStr, field_validator
from typing_extensions import override

from channels_adapters import http as answers
from channels_adapters import reading, signing, text
from channels_adapters.base import ChannelAdapter, Credentials, Http, KeySource, Scope
from channels_adapters.errors import (
    ChannelError,
    CredentialsRevoked,
    PayloadMalformed,
    SignatureInvalid,
    Unavailable,
    Unsupported,
)
from channels_adapters.types import (
    Address,
    Attachment,
    AttachmentKind,
    Capabilities,
    Ignored,
    InboundEvent,
    InboundMessage,
    Outcome,
    Part,
    Probe,
    QuickReply,
    Reply,
    SentMessage,
    WebhookRequest,
    WebhookResponse,
)

LONGEST_ID = 512
MOST_ATTACHMENTS = 20
STATUSES: Mapping[int, type[ChannelError]] = {
    403: CredentialsRevoked,
    410: CredentialsRevoked,  # the specification: the receiver wants no more, stop sending
    504: Unavailable,  # a repeated `webhook-id` is recognised by the receiver, so a second try is safe
}
JSON_HEADERS = {"content-type": "application/json"}


class WebhookCredentials(Credentials):
    """How a program signs, and where and how it wants its answers."""

    secret: SecretStr
    """`whsec_` + base64; several separated by spaces: the first is current, all are accepted and used (rotation)."""
    callback_url: str = ""
    """Where answers are posted; empty: answers can only be read in the response."""
    answer: Literal["callback", "inline"] = "callback"
    """`inline`: the answer is in the response when it is ready within `inline_limit`, else it is posted."""
    inline_limit: float = Field(default=20.0, ge=0.1, le=110.0)
    """Seconds that a response may wait for its answer."""

    @field_validator("secret")
    @classmethod
    def _keys(cls, value: SecretStr) -> SecretStr:
        if not signing.standard_keys(value):
            raise ValueError("at least one secret is needed")
        return value

    @field_validator("callback_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("an address starts with https:// or http://")
        return value


class WebhookAdapter(ChannelAdapter[WebhookCredentials]):
    """Standard Webhooks in, Standard Webhooks (or the response) out."""

    slug = "webhook"
    name = "Generic signed webhook"
    docs_url = "https://www.standardwebhooks.com/"
    credentials_type: ClassVar[type[Credentials]] = WebhookCredentials
    capabilities = Capabilities(
        text_limit=65_536,
        markup="markdown",
        images=True,
        files=True,
        buttons=20,
        threads=True,
        idempotency="key",
        sync_reply="optional",
        sync_deadline=20.0,
        machine=True,
        sends_per_second=100.0,
        sends_per_second_per_conversation=50.0,
    )

    def __init__(self, credentials: WebhookCredentials, *, http: Http, keys: KeySource, scope: Scope) -> None:
        super().__init__(credentials, http=http, keys=keys, scope=scope)
        self._signing_keys = signing.standard_keys(credentials.secret)
        if credentials.answer == "inline":
            self.capabilities = replace(self.capabilities, sync_deadline=credentials.inline_limit)
        else:
            self.capabilities = replace(self.capabilities, sync_reply="none", sync_deadline=0.0)

    # ---- inbound ----

    @override
    def verify(self, request: WebhookRequest) -> None:
        if request.method != "POST":
            raise SignatureInvalid("only POST is signed")
        signing.check_standard(request.headers, request.body, self._signing_keys, now=request.received_unix)

    @override
    def parse(self, request: WebhookRequest) -> Sequence[InboundEvent]:
        body = reading.parse_object(request.body)
        kind = body.get("type")
        if not isinstance(kind, str):
            raise PayloadMalformed("type must be a text")
        if kind != "message":
            return [Ignored(reason="unknown_type")]
        data = body.get("data")
        if not isinstance(data, dict):
            raise PayloadMalformed("data must be an object")
        return [_message(data, body, request)]

    @override
    def acknowledge(
        self,
        request: WebhookRequest,
        events: Sequence[InboundEvent],
        outcomes: Sequence[Outcome],
        answer: Reply | None = None,
    ) -> WebhookResponse:
        body: dict[str, object] = {"outcome": outcomes[0].value if outcomes else Outcome.IGNORED.value}
        if answer is not None:
            body["reply"] = answer.text
            body["quick_replies"] = _quick_replies(answer.quick_replies)
        return WebhookResponse(headers=JSON_HEADERS, body=orjson.dumps(body))

    # ---- outbound ----

    @override
    def render(self, reply: Reply) -> Sequence[Part]:
        pieces = text.split(reply.text, limit=self.capabilities.text_limit) or [""]
        return [
            Part(kind="message", payload=_payload(reply, piece, index, final=index == len(pieces) - 1), text=piece)
            for index, piece in enumerate(pieces)
        ]

    @override
    async def send(self, address: Address, part: Part, *, key: str) -> SentMessage:
        data = {"conversation": address.conversation, **part.payload}
        if address.thread:
            data["thread"] = address.thread
        await self._post({"type": "message", "data": data}, key=key)
        return SentMessage(platform_id=key)

    @override
    async def fetch(self, attachment: Attachment, *, max_bytes: int) -> Attachment:
        response = await answers.download(self.http, attachment.url, max_bytes=max_bytes)
        return replace(attachment, data=response.body, size=len(response.body))

    @override
    async def probe(self) -> Probe:
        """Posts a signed `ping`, which receivers answer with any 2xx."""
        if not self.credentials.callback_url:
            return Probe(ok=True, detail="no callback_url: answers are only in the response")
        try:
            await self._post({"type": "ping", "data": {}}, key=f"ping-{self.scope.public_id}-{time.time_ns()}")
        except ChannelError as error:
            return Probe(ok=False, detail=error.detail)
        return Probe(ok=True, detail="the callback_url accepted a signed ping")

    async def _post(self, message: Mapping[str, object], *, key: str) -> None:
        if not self.credentials.callback_url:
            raise Unsupported("the connection has no callback_url")
        body = orjson.dumps(message)
        signed = signing.standard_headers(
            self._signing_keys, message_id=_safe_id(key), stamp=int(time.time()), body=body
        )
        response = await self.http.request(
            "POST", self.credentials.callback_url, headers={**JSON_HEADERS, **signed}, data=body, timeout=20.0
        )
        if 200 <= response.status < 300:
            return
        raise answers.make_error(
            answers.error_for_status(response.status, statuses=STATUSES),
            f"the callback_url answered {response.status}",
            status=response.status,
            wait=answers.wait_from_header(response.headers, now=time.time),
        )


def _safe_id(key: str) -> str:
    """A `webhook-id` must not hold a full stop."""
    return key.replace(".", "_")


def _message(data: Mapping[str, object], body: Mapping[str, object], request: WebhookRequest) -> InboundMessage:
    external_id = reading.identifier(data, "id") or request.headers.get("webhook-id", "")
    conversation, sender = reading.identifier(data, "conversation"), reading.identifier(data, "sender")
    for name, value in (("conversation", conversation), ("sender", sender), ("id", external_id)):
        if not value or len(value) > LONGEST_ID:
            raise PayloadMalformed(f"data.{name} must be an id of 1 to {LONGEST_ID} characters")
    words, attachments = data.get("text", ""), data.get("attachments", [])
    if not isinstance(words, str):
        raise PayloadMalformed("data.text must be a text")
    if not isinstance(attachments, list) or len(attachments) > MOST_ATTACHMENTS:
        raise PayloadMalformed(f"data.attachments must be a list of at most {MOST_ATTACHMENTS}")
    return InboundMessage(
        external_id=external_id,
        sender_id=sender,
        sender_name=reading.text(data, "sender_name"),
        address=Address(conversation=conversation, thread=reading.identifier(data, "thread")[:LONGEST_ID]),
        text=words,
        attachments=tuple(_attachment(item) for item in attachments),
        action=reading.text(data, "action"),
        reply_to=reading.identifier(data, "reply_to"),
        sent_at=reading.moment(request.headers.get("webhook-timestamp")),
        language=reading.text(data, "language"),
        raw=body,
    )


def _attachment(item: object) -> Attachment:
    if not isinstance(item, dict) or not reading.text(item, "url").startswith(("https://", "http://")):
        raise PayloadMalformed("an attachment needs a url")
    kind = reading.text(item, "kind", "file")
    return Attachment(
        kind=AttachmentKind(kind) if kind in tuple(AttachmentKind) else AttachmentKind.FILE,
        name=reading.text(item, "name"),
        media_type=reading.text(item, "media_type"),
        size=reading.integer(item, "size"),
        url=reading.text(item, "url"),
    )


def _quick_replies(choices: Sequence[QuickReply]) -> list[dict[str, str]]:
    return [{"label": choice.label, "value": choice.value} for choice in choices]


def _payload(reply: Reply, piece: str, index: int, *, final: bool) -> dict[str, object]:
    payload: dict[str, object] = {
        "in_reply_to": reply.in_reply_to[-1] if reply.in_reply_to else None,
        "in_reply_to_all": list(reply.in_reply_to),
        "text": piece,
        "sequence": index,
        "final": final,
    }
    if final and reply.quick_replies:
        payload["quick_replies"] = _quick_replies(reply.quick_replies)
    if final and reply.attachments:
        payload["attachments"] = [
            {"kind": file.kind.value, "name": file.name, "media_type": file.media_type, "url": file.url}
            for file in reply.attachments
            if file.url
        ]
    return payload
