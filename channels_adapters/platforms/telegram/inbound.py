"""Telegram updates as events: https://core.telegram.org/bots/api#update"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from channels_adapters import reading
from channels_adapters.types import (
    Address,
    Attachment,
    AttachmentKind,
    Ignored,
    InboundEvent,
    InboundMessage,
    MessageEdited,
)

_KINDS: Sequence[tuple[str, AttachmentKind, str]] = (
    ("voice", AttachmentKind.VOICE, "audio/ogg"),
    ("audio", AttachmentKind.AUDIO, "audio/mpeg"),
    ("video", AttachmentKind.VIDEO, "video/mp4"),
    ("video_note", AttachmentKind.VIDEO, "video/mp4"),
    ("animation", AttachmentKind.VIDEO, "video/mp4"),
    ("document", AttachmentKind.FILE, ""),
    ("sticker", AttachmentKind.IMAGE, "image/webp"),
)
_NOTED = frozenset(
    {
        "inline_query",
        "chosen_inline_result",
        "my_chat_member",
        "chat_member",
        "chat_join_request",
        "message_reaction",
        "poll",
        "poll_answer",
        "message_reaction_count",
        "business_connection",
        "business_message",
        "edited_business_message",
        "deleted_business_messages",
        "shipping_query",
        "pre_checkout_query",
        "purchased_paid_media",
        "chat_boost",
        "removed_chat_boost",
        "managed_bot",
        "guest_message",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """Who we are on Telegram, and when we answer in groups."""

    bot_id: str
    username: str
    answer_all: bool


def read_update(update: Mapping[str, object], me: Self) -> InboundEvent:
    """The one event in an update."""
    for name in ("message", "channel_post"):
        if name in update:
            return _message(reading.mapping(update, name), update, me)
    for name in ("edited_message", "edited_channel_post"):
        if name in update:
            return _edited(reading.mapping(update, name), update, me)
    if "callback_query" in update:
        return _pressed(reading.mapping(update, "callback_query"), update)
    known = next((name for name in update if name in _NOTED), "")
    return Ignored(reason=f"update_{known}" if known else "unknown_update")


def _message(message: Mapping[str, object], update: Mapping[str, object], me: Self) -> InboundEvent:
    chat = reading.mapping(message, "chat")
    sender = reading.mapping(message, "from") or reading.mapping(message, "sender_chat") or chat
    message_id, chat_id = reading.identifier(message, "message_id"), reading.identifier(chat, "id")
    if not (message_id and chat_id and reading.identifier(sender, "id")):
        return Ignored(reason="incomplete_message")
    if reading.identifier(sender, "id") == me.bot_id:
        return Ignored(reason="own_message")
    if sender.get("is_bot") is True:
        return Ignored(reason="bot_message")
    words, attachments = _content(message), _attachments(message)
    if not words and not attachments:
        return Ignored(reason="no_content")
    quoted = reading.mapping(message, "reply_to_message")
    return InboundMessage(
        external_id=external_id(chat_id, message_id),
        sender_id=reading.identifier(sender, "id"),
        sender_name=_name(sender),
        address=_address(message, chat_id),
        text=_without_own_name(words, message, me),
        attachments=attachments,
        addressed=_addressed(message, chat, words, me),
        group=reading.text(chat, "type") != "private",
        reply_to=external_id(chat_id, reading.identifier(quoted, "message_id")) if quoted else "",
        sent_at=reading.moment(reading.number(message, "date")),
        language=reading.text(sender, "language_code"),
        raw=update,
    )


def _edited(message: Mapping[str, object], update: Mapping[str, object], me: Self) -> InboundEvent:
    chat_id = reading.identifier(reading.mapping(message, "chat"), "id")
    message_id = reading.identifier(message, "message_id")
    sender = reading.mapping(message, "from") or reading.mapping(message, "chat")
    if not (chat_id and message_id):
        return Ignored(reason="incomplete_message")
    if sender.get("is_bot") is True:
        return Ignored(reason="own_message" if reading.identifier(sender, "id") == me.bot_id else "bot_message")
    return MessageEdited(
        external_id=external_id(chat_id, message_id),
        edit_id=reading.identifier(update, "update_id"),
        sender_id=reading.identifier(sender, "id"),
        address=_address(message, chat_id),
        text=_content(message),
        raw=update,
    )


def _pressed(query: Mapping[str, object], update: Mapping[str, object]) -> InboundEvent:
    """A pressed button; its message is absent when it was sent inline or is too old to answer beside."""
    message, sender = reading.mapping(query, "message"), reading.mapping(query, "from")
    chat_id = reading.identifier(reading.mapping(message, "chat"), "id")
    value, query_id = reading.text(query, "data"), reading.identifier(query, "id")
    if not (chat_id and value and query_id and reading.identifier(sender, "id")):
        return Ignored(reason="callback_without_message")
    return InboundMessage(
        external_id=f"callback:{query_id}",
        sender_id=reading.identifier(sender, "id"),
        sender_name=_name(sender),
        address=_address(message, chat_id),
        text=_label(message, value),
        group=reading.text(reading.mapping(message, "chat"), "type") != "private",
        action=value,
        reply_to=external_id(chat_id, reading.identifier(message, "message_id")),
        language=reading.text(sender, "language_code"),
        raw=update,
    )


def external_id(chat_id: str, message_id: str) -> str:
    """Message ids count within a chat, so ours carry the chat."""
    return f"{chat_id}:{message_id}"


def _label(message: Mapping[str, object], value: str) -> str:
    rows = reading.mapping(message, "reply_markup").get("inline_keyboard")
    buttons = [button for row in rows if isinstance(row, list) for button in row] if isinstance(rows, list) else []
    for button in buttons:
        if isinstance(button, dict) and button.get("callback_data") == value:
            return reading.text(button, "text", value)
    return value


def _address(message: Mapping[str, object], chat_id: str) -> Address:
    """Only forum topics are threads: other supergroups also number their reply chains, which nobody sees as one."""
    topic = reading.identifier(message, "message_thread_id") if message.get("is_topic_message") is True else ""
    return Address(conversation=chat_id, thread=topic)


def _name(sender: Mapping[str, object]) -> str:
    full = f"{reading.text(sender, 'first_name')} {reading.text(sender, 'last_name')}".strip()
    return full or reading.text(sender, "title") or reading.text(sender, "username")


def _content(message: Mapping[str, object]) -> str:
    words = reading.text(message, "text") or reading.text(message, "caption")
    if words:
        return words
    contact, place = reading.mapping(message, "contact"), reading.mapping(message, "location")
    if contact:
        return f"{_name(contact)} {reading.text(contact, 'phone_number')}".strip()
    return f"geo:{place.get('latitude')},{place.get('longitude')}" if place else ""


def _attachments(message: Mapping[str, object]) -> tuple[Attachment, ...]:
    sizes = reading.items(message, "photo")
    if sizes:
        largest = max(sizes, key=lambda size: reading.integer(size, "width") or 0)
        return (_attachment(largest, AttachmentKind.IMAGE, "image/jpeg"),)
    for name, kind, media_type in _KINDS:
        file = reading.mapping(message, name)
        if reading.text(file, "file_id"):
            return (_attachment(file, kind, media_type),)
    return ()


def _attachment(file: Mapping[str, object], kind: AttachmentKind, media_type: str) -> Attachment:
    return Attachment(
        kind=kind,
        name=reading.text(file, "file_name"),
        media_type=reading.text(file, "mime_type", media_type),
        size=reading.integer(file, "file_size"),
        platform_id=reading.text(file, "file_id"),
    )


# ---- is it meant for us? -------------------------------------------------------------------------------------------


def _addressed(message: Mapping[str, object], chat: Mapping[str, object], words: str, me: Self) -> bool:
    if reading.text(chat, "type") == "channel":
        return False
    if reading.text(chat, "type") == "private" or me.answer_all:
        return True
    quoted = reading.mapping(message, "reply_to_message", "from")
    if reading.identifier(quoted, "id") == me.bot_id:
        return True
    return any(_names_us(entity, words, me) for entity in _entities(message))


def _names_us(entity: Mapping[str, object], words: str, me: Self) -> bool:
    kind, named = reading.text(entity, "type"), _slice(words, entity)
    if kind == "text_mention":
        return reading.identifier(reading.mapping(entity, "user"), "id") == me.bot_id
    if kind == "mention":
        return _our_name(named[1:], me)
    if kind == "bot_command":
        _, at, name = named.partition("@")
        return not at or _our_name(name, me)
    return False


def _our_name(name: str, me: Self) -> bool:
    """Without a configured name, any bot's name counts: names of bots end in "bot", names of people do not."""
    return name.lower() == me.username.lower() if me.username else name.lower().endswith("bot")


def _entities(message: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    return reading.items(message, "entities") or reading.items(message, "caption_entities")


def _slice(words: str, entity: Mapping[str, object]) -> str:
    """Offsets and lengths of entities are counted in UTF-16 code units."""
    start, size = reading.integer(entity, "offset") or 0, reading.integer(entity, "length") or 0
    if start < 0 or size < 0:
        return ""
    units = words.encode("utf-16-le", "surrogatepass")[2 * start : 2 * (start + size)]
    return units.decode("utf-16-le", "replace")


def _without_own_name(words: str, message: Mapping[str, object], me: Self) -> str:
    """What was said to us, without the mention in front of it."""
    first = next((entity for entity in _entities(message) if entity.get("offset") == 0), None)
    if first is None or not _names_us(first, words, me):
        return words
    named = _slice(words, first)
    if reading.text(first, "type") == "bot_command":
        return named.partition("@")[0] + words[len(named) :]
    return words[len(named) :].lstrip(" ,:\n") or words
