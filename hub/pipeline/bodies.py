"""What is sealed in `message.body`, and how text is cleaned before it is stored.

A body is a JSON object with only the keys that say something, so that the usual one is `{"t": "hello"}` and a few more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import orjson

from channels_adapters.types import Address, Attachment, AttachmentKind
from tenants.crypto import CellRef

MAX_TEXT = 200_000
"""Characters of one inbound message; longer ones are refused by the doors."""


def clean(text: str) -> str:
    """Text that PostgreSQL and JSON can hold: without NUL, lone surrogates replaced."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The content of a message, in or out."""

    text: str = ""
    attachments: Sequence[Mapping[str, Any]] = ()
    sender_name: str = ""
    external_id: str = ""
    address: Mapping[str, Any] | None = None
    """Where to answer this very message (its thread, its reply handle)."""
    action: str = ""
    group: bool = False
    """Several people write in this conversation."""
    tool_call_id: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What an API caller asked for: tools, limits, a stateless history."""
    quick_replies: Sequence[str] = ()
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    edits: Mapping[str, Any] = field(default_factory=dict)
    """`id` and `seq` of the message that this one says anew: from there on everything before this one is superseded."""
    form: Mapping[str, str] = field(default_factory=dict)
    """What a page asked before the first message."""
    citations: Sequence[Mapping[str, Any]] = ()
    """What an answer could draw on, best first."""
    hold: float = 0.0
    """Until when (unix time) a response is held open for the answer to this message."""


_KEYS = {
    "text": "t",
    "attachments": "a",
    "sender_name": "n",
    "external_id": "e",
    "address": "d",
    "action": "c",
    "group": "g",
    "tool_call_id": "i",
    "options": "o",
    "quick_replies": "q",
    "tool_calls": "l",
    "finish": "f",
    "usage": "u",
    "edits": "x",
    "form": "m",
    "citations": "s",
    "hold": "h",
}
_NAMES = {short: name for name, short in _KEYS.items()}
_SHORT = tuple(_KEYS.values())
_values = attrgetter(*_KEYS)


def pack(body: Body) -> bytes:
    """The body as JSON bytes, ready to be sealed."""
    return orjson.dumps({short: value for short, value in zip(_SHORT, _values(body), strict=True) if value})


def unpack(data: bytes) -> Body:
    """What `pack` made; keys of a newer version are ignored."""
    found = orjson.loads(data)
    return Body(**{_NAMES[short]: value for short, value in found.items() if short in _NAMES})


def body_cell(tenant_id: UUID, message_id: UUID) -> CellRef:
    """Where a message's body is sealed."""
    return CellRef(tenant_id, "content", "message", "body", message_id)


def pack_address(address: Address) -> dict[str, Any]:
    """An address as JSON values; empty fields are left out."""
    found: dict[str, Any] = {"conversation": address.conversation}
    for name in ("thread", "recipient", "handle", "handle_uses"):
        if value := getattr(address, name):
            found[name] = value
    if address.handle_expires is not None:
        found["handle_expires"] = address.handle_expires.isoformat()
    if address.extra:
        found["extra"] = dict(address.extra)
    return found


def unpack_address(found: Mapping[str, Any]) -> Address:
    """What `pack_address` made."""
    expires = found.get("handle_expires")
    return Address(
        conversation=found["conversation"],
        thread=found.get("thread", ""),
        recipient=found.get("recipient", ""),
        handle=found.get("handle", ""),
        handle_uses=found.get("handle_uses"),
        handle_expires=datetime.fromisoformat(expires) if expires else None,
        extra=found.get("extra", {}),
    )


def pack_attachment(attachment: Attachment) -> dict[str, Any]:
    """An attachment's reference as JSON values; bytes are not stored here."""
    found: dict[str, Any] = {"kind": attachment.kind.value}
    for name in ("name", "media_type", "size", "url", "platform_id"):
        if value := getattr(attachment, name):
            found[name] = value
    return found


def unpack_attachment(found: Mapping[str, Any]) -> Attachment:
    """What `pack_attachment` made."""
    return Attachment(
        kind=AttachmentKind(found["kind"]),
        name=found.get("name", ""),
        media_type=found.get("media_type", ""),
        size=found.get("size"),
        url=found.get("url", ""),
        platform_id=found.get("platform_id", ""),
    )


def partial_cell(tenant_id: UUID, turn_id: UUID) -> CellRef:
    """Where a turn's text so far is sealed."""
    return CellRef(tenant_id, "content", "turn", "partial", turn_id)


def pack_partial(index: int, text: str) -> bytes:
    """The text up to and with the chunk `index`."""
    return orjson.dumps([index, text])


def unpack_partial(data: bytes) -> tuple[int, str]:
    """What `pack_partial` made."""
    index, text = orjson.loads(data)
    return int(index), str(text)


def tool_texts_cell(tenant_id: UUID, turn_id: UUID) -> CellRef:
    """Where what a turn's tools were asked and said is sealed."""
    return CellRef(tenant_id, "content", "turn", "tool_texts", turn_id)
