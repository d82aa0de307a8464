"""Replies as Telegram messages: https://core.telegram.org/bots/api#sendmessage"""

import base64
import hashlib
from collections.abc import Mapping, Sequence

from channels_adapters import markup
from channels_adapters.types import Attachment, AttachmentKind, Part, QuickReply, Reply

TEXT_LIMIT = 4096
CALLBACK_BYTES = 64
BUTTONS = 24
_METHODS: Mapping[AttachmentKind, tuple[str, str]] = {
    AttachmentKind.IMAGE: ("sendPhoto", "photo"),
    AttachmentKind.AUDIO: ("sendAudio", "audio"),
    AttachmentKind.VOICE: ("sendVoice", "voice"),
    AttachmentKind.VIDEO: ("sendVideo", "video"),
    AttachmentKind.FILE: ("sendDocument", "document"),
}


def parts(reply: Reply) -> list[Part]:
    """Text first, in as many messages as it needs, then one message per file. The first one quotes the question."""
    shown, listed = _choices(reply.quick_replies)
    source = "\n".join([reply.text, *([""] if listed else []), *(f"- {choice.label}" for choice in listed)])
    made = [
        Part(kind="text", payload={"text": piece.plain, "html": piece.markup}, text=piece.plain)
        for piece in markup.pieces(source, markup.TELEGRAM, limit=TEXT_LIMIT, unit="utf16")
    ]
    if shown and not made:
        made = [Part(kind="text", payload={"text": "↓", "html": "↓"}, text="↓")]
    if shown:
        made[-1] = _with(made[-1], {"reply_markup": _keyboard(shown)})
    made.extend(_file(attachment) for attachment in reply.attachments)
    if made and reply.in_reply_to:
        made[0] = _with(made[0], {"reply_to": reply.in_reply_to[-1]})
    return made


def _with(part: Part, more: Mapping[str, object]) -> Part:
    return Part(kind=part.kind, payload={**part.payload, **more}, text=part.text)


def _choices(choices: Sequence[QuickReply]) -> tuple[list[QuickReply], list[QuickReply]]:
    """Buttons, and the choices that do not fit into one: Telegram carries at most 64 bytes back."""
    fitting = [choice for choice in choices if choice.label and 0 < len(choice.value.encode()) <= CALLBACK_BYTES]
    shown = fitting[:BUTTONS]
    return shown, [choice for choice in choices if choice not in shown]


def _keyboard(choices: Sequence[QuickReply]) -> dict[str, object]:
    return {"inline_keyboard": [[{"text": choice.label, "callback_data": choice.value}] for choice in choices]}


def _file(attachment: Attachment) -> Part:
    method, field = _METHODS[attachment.kind]
    payload: dict[str, object] = {"method": method, "field": field, "name": attachment.name or field}
    if attachment.data is not None:
        payload["data"] = base64.b64encode(attachment.data).decode()
        payload["media_type"] = attachment.media_type or "application/octet-stream"
    else:
        payload["source"] = attachment.platform_id or attachment.url
    return Part(kind="file", payload=payload, text=attachment.name)


def draft_id(key: str) -> int:
    """A positive number that is the same for every chunk of one delivery."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") >> 1 | 1
