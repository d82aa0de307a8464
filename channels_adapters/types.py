"""The channel-neutral vocabulary: what comes in from a platform and what goes back to it.

Every value is frozen. Times are timezone-aware UTC. Text is clean Unicode: the hub strips NUL and lone surrogates
before it stores anything, so adapters may pass on what the platform sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

STREAM = "stream"
"""The payload key that `streamed` sets."""

EMPTY: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """One HTTP request as it came: `body` is the raw bytes that were signed, header names are lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    url: str
    """The public URL that the platform called (from configuration, never from the Host header)."""
    received_at: datetime

    @property
    def received_unix(self) -> float:
        """The clock that signatures are checked against, in unix seconds."""
        return self.received_at.timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookResponse:
    """What the edge answers to the platform."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to answer on a channel. `conversation` and `thread` make the session; the handle only serves one turn."""

    conversation: str
    thread: str = ""
    recipient: str = ""
    """The platform's id of the person, where sending needs it beside the conversation."""
    handle: str = ""
    """A bearer reply handle (response_url, reply token): secret, stored encrypted, never logged."""
    handle_expires: datetime | None = None
    handle_uses: int | None = None
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class AttachmentKind(StrEnum):
    """What a file is to a person."""

    IMAGE = "image"
    AUDIO = "audio"
    VOICE = "voice"
    VIDEO = "video"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file by reference: a URL, or a platform id that `adapter.fetch` resolves; `data` once it was fetched."""

    kind: AttachmentKind
    name: str = ""
    media_type: str = ""
    size: int | None = None
    url: str = ""
    platform_id: str = ""
    data: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """A person (or machine) said something."""

    external_id: str
    """The platform's id of the message, unique within the connection."""
    sender_id: str
    sender_name: str = ""
    address: Address
    text: str = ""
    attachments: Sequence[Attachment] = ()
    addressed: bool = True
    """False for group talk that is not meant for us: stored, not answered."""
    group: bool = False
    """Several people write here: what is said is remembered of the conversation, not of one person."""
    action: str = ""
    """The value behind a pressed button or quick reply; `text` then holds its label."""
    reply_to: str = ""
    """The platform's id of the message this one quotes."""
    sent_at: datetime | None = None
    language: str = ""
    raw: Mapping[str, object] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEdited:
    """An earlier message was changed; noted, never answered."""

    external_id: str
    edit_id: str
    """Unique per edit, for deduplication."""
    sender_id: str
    address: Address
    text: str
    raw: Mapping[str, object] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeleted:
    """An earlier message was withdrawn."""

    external_id: str
    address: Address
    raw: Mapping[str, object] = field(default_factory=lambda: EMPTY)


class ReceiptKind(StrEnum):
    """How far one of our messages came; only ever moves forward."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReceipt:
    """The platform tells what became of one of our messages."""

    platform_id: str
    kind: ReceiptKind
    at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """A verified event that asks nothing of us; counted by `reason` (a short constant, never user text)."""

    reason: str


InboundEvent = InboundMessage | MessageEdited | MessageDeleted | DeliveryReceipt | Ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickReply:
    """A button under a reply. `value` comes back as `InboundMessage.action`."""

    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A channel-neutral answer. `text` is CommonMark with GFM tables and fences."""

    text: str
    attachments: Sequence[Attachment] = ()
    quick_replies: Sequence[QuickReply] = ()
    in_reply_to: Sequence[str] = ()
    """External ids of the messages that this reply answers, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One platform-shaped piece of a reply, ready to send: JSON-serialisable and stored as it is."""

    kind: str
    payload: Mapping[str, object]
    text: str = ""
    """What a person will read of it, for ledgers and stream comparison."""


def streamed(part: Part) -> Part:
    """The part as the opening of a streamed message: `adapter.send` then makes a message that can go on growing."""
    return replace(part, payload={**part.payload, STREAM: True})


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """The platform took a part."""

    platform_id: str
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Outcome(StrEnum):
    """What the hub did with one inbound event, for `adapter.acknowledge`."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    NOTED = "noted"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The answer of `adapter.probe`: does the connection work, and as whom."""

    ok: bool
    detail: str
    identity: str = ""


LengthUnit = Literal["chars", "utf8_bytes", "utf16"]
StreamMode = Literal["none", "edit", "append", "replace", "draft"]
IdempotencyKind = Literal["none", "key", "sequence"]
SyncReply = Literal["none", "optional", "required"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a channel can do; the pipeline reads this and never a channel's name."""

    text_limit: int
    length_unit: LengthUnit = "chars"
    markup: Literal["none", "html", "markdown", "mrkdwn", "custom"] = "none"
    images: bool = False
    files: bool = False
    buttons: int = 0
    """How many quick replies one message can carry; 0 = none (they become text)."""
    threads: bool = False
    receipts: bool = False
    typing: bool = False
    typing_seconds: float = 4.0
    edits: bool = False
    stream: StreamMode = "none"
    stream_interval: float = 1.0
    """Seconds between two updates of a streamed message."""
    idempotency: IdempotencyKind = "none"
    reconcile: bool = False
    sync_reply: SyncReply = "none"
    sync_deadline: float = 0.0
    machine: bool = False
    """True where the other side is a program: every message is its own turn."""
    pull: bool = False
    """True where the stored reply is the delivery and the client fetches it (web chat, API)."""
    delivery_window: float = 900.0
    """Seconds after which a reply is not worth sending any more."""
    sends_per_second: float = 30.0
    sends_per_second_per_conversation: float = 1.0
    auth_covers_body: bool = True
