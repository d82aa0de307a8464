"""Slack's events, commands and pressed buttons as events of ours: https://docs.slack.dev/apis/events-api"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

from channels_adapters import reading
from channels_adapters.errors import PayloadMalformed
from channels_adapters.types import (
    Address,
    Attachment,
    AttachmentKind,
    Ignored,
    InboundEvent,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    WebhookRequest,
)

HANDLE_LIFE = timedelta(minutes=30)
HANDLE_USES = 5
_SPOKEN = frozenset({"", "file_share", "thread_broadcast", "me_message"})
_REFERENCE = re.compile(r"<([^<>\n]{1,4000})>")
_MOST_FIELDS = 100
_BEARERS = frozenset({"token", "response_url", "response_urls", "trigger_id"})
_INTERACTIONS = frozenset({"view_submission", "view_closed", "shortcut", "message_action", "block_suggestion"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """Who we are on Slack, and when we answer in channels."""

    app_id: str
    team_id: str
    user_id: str
    answer_all: bool
    in_threads: bool
    handle_hosts: frozenset[str]
    """Hosts that a `response_url` may name; any other is dropped, whoever signed it."""


def read_body(request: WebhookRequest) -> Mapping[str, object]:
    """The payload, from JSON or from a form (commands; interactions carry JSON in the field `payload`)."""
    if "form-urlencoded" not in request.headers.get("content-type", ""):
        return reading.parse_object(request.body)
    try:
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise PayloadMalformed("the body is not a form") from error
    form: dict[str, object] = dict(pairs)
    payload = form.get("payload")
    return reading.parse_object(payload.encode()) if isinstance(payload, str) else form


def read_payload(body: Mapping[str, object], request: WebhookRequest, me: Self) -> InboundEvent:
    """The one event in a payload."""
    if "ssl_check" in body:
        return Ignored(reason="ssl_check")
    kind = reading.text(body, "type")
    if kind == "url_verification":
        return Ignored(reason="url_verification")
    if _foreign(body, me):
        return Ignored(reason="foreign_application")
    if kind == "event_callback":
        return _event(body, me)
    if kind == "block_actions":
        return _pressed(body, me)
    if kind in _INTERACTIONS:
        return Ignored(reason=kind)
    return _command(body, request, me) if reading.text(body, "command") else Ignored(reason="unknown_type")


def _foreign(body: Mapping[str, object], me: Self) -> bool:
    """Validly signed, but for another application or workspace than the connection's."""
    app_id = reading.text(body, "api_app_id")
    return bool((me.app_id and app_id and app_id != me.app_id) or (me.team_id and me.team_id not in _teams(body)))


def _teams(body: Mapping[str, object]) -> set[str]:
    """An event of a shared channel names the sender's workspace outside and ours among the authorizations."""
    named = {reading.text(body, "team_id"), reading.text(reading.mapping(body, "team"), "id")}
    return named | {reading.text(item, "team_id") for item in reading.items(body, "authorizations")}


def _event(body: Mapping[str, object], me: Self) -> InboundEvent:
    event = reading.mapping(body, "event")
    kind, subtype = reading.text(event, "type"), reading.text(event, "subtype")
    if kind not in ("message", "app_mention"):
        return Ignored(reason="other_event" if kind else "incomplete_event")
    if not reading.text(event, "channel"):
        return Ignored(reason="incomplete_message")
    if subtype == "message_changed":
        return _edited(body, event, me)
    if subtype == "message_deleted":
        return _deleted(body, event, me)
    return _message(body, event, me) if subtype in _SPOKEN else Ignored(reason="subtype")


def _message(body: Mapping[str, object], event: Mapping[str, object], me: Self) -> InboundEvent:
    channel, stamp, user = (reading.text(event, name) for name in ("channel", "ts", "user"))
    if not (stamp and user):
        return Ignored(reason="bot_message" if event.get("bot_id") else "incomplete_message")
    if _is_ours(event, body, me):
        return Ignored(reason="own_message")
    if event.get("bot_id"):
        return Ignored(reason="bot_message")
    words = reading.text(event, "text")
    addressed = _addressed(event, words, _our_user(body, me), me)
    return InboundMessage(
        external_id=external_id(channel, stamp),
        sender_id=user,
        address=_address(event, body, addressed=addressed, me=me),
        text=_readable(words, _our_user(body, me)),
        attachments=tuple(_attachment(file) for file in reading.items(event, "files")),
        addressed=addressed,
        group=_is_group(channel),
        reply_to=_quoted(event, channel),
        sent_at=reading.moment(stamp),
        raw=_kept(body),
    )


def _is_group(channel: str) -> bool:
    """Ids of direct messages begin with D; everything else has several readers."""
    return not channel.startswith("D")


def _edited(body: Mapping[str, object], event: Mapping[str, object], me: Self) -> InboundEvent:
    changed, before = reading.mapping(event, "message"), reading.mapping(event, "previous_message")
    if _is_ours(changed, body, me) or changed.get("bot_id"):
        return Ignored(reason="own_message")
    if reading.text(changed, "text") == reading.text(before, "text"):
        return Ignored(reason="unfurled")
    if not reading.text(changed, "ts"):
        return Ignored(reason="incomplete_message")
    channel = reading.text(event, "channel")
    return MessageEdited(
        external_id=external_id(channel, reading.text(changed, "ts")),
        edit_id=reading.text(body, "event_id") or reading.text(event, "event_ts"),
        sender_id=reading.text(changed, "user"),
        address=_address({**changed, "channel": channel, "channel_type": event.get("channel_type")}, body, me=me),
        text=_readable(reading.text(changed, "text"), _our_user(body, me)),
        raw=_kept(body),
    )


def _deleted(body: Mapping[str, object], event: Mapping[str, object], me: Self) -> InboundEvent:
    before, stamp = reading.mapping(event, "previous_message"), reading.text(event, "deleted_ts")
    if _is_ours(before, body, me) or before.get("bot_id"):
        return Ignored(reason="own_message")
    if not stamp:
        return Ignored(reason="incomplete_message")
    channel = reading.text(event, "channel")
    place = {**before, "channel": channel, "channel_type": event.get("channel_type")}
    return MessageDeleted(
        external_id=external_id(channel, stamp), address=_address(place, body, me=me), raw=_kept(body)
    )


def _pressed(body: Mapping[str, object], me: Self) -> InboundEvent:
    action = next(iter(reading.items(body, "actions")), {})
    place, user = reading.mapping(body, "container"), reading.mapping(body, "user")
    channel = reading.text(reading.mapping(body, "channel"), "id") or reading.text(place, "channel_id")
    value = reading.text(action, "value") or reading.text(reading.mapping(action, "selected_option"), "value")
    stamp = reading.text(action, "action_ts")
    if not (channel and value and stamp and reading.text(user, "id")):
        return Ignored(reason="incomplete_action")
    shown = reading.mapping(body, "message")
    thread = reading.text(shown, "thread_ts") or reading.text(place, "thread_ts")
    return InboundMessage(
        external_id=f"action:{reading.text(place, 'message_ts')}:{stamp}",
        sender_id=reading.text(user, "id"),
        sender_name=reading.text(user, "name") or reading.text(user, "username"),
        address=Address(
            conversation=channel, thread=thread, recipient=reading.text(user, "id"), extra=_extra(body, channel, me)
        ),
        text=html.unescape(reading.text(reading.mapping(action, "text"), "text")) or value,
        group=_is_group(channel),
        action=value,
        reply_to=external_id(channel, reading.text(place, "message_ts")),
        sent_at=reading.moment(stamp),
        raw=_kept(body),
    )


def _command(body: Mapping[str, object], request: WebhookRequest, me: Self) -> InboundEvent:
    channel, user, trigger = (reading.text(body, name) for name in ("channel_id", "user_id", "trigger_id"))
    if not (channel and user and trigger):
        return Ignored(reason="incomplete_command")
    handle = reading.text(body, "response_url")
    handle = handle if _trusted(handle, me) else ""
    return InboundMessage(
        external_id=f"command:{trigger}",
        sender_id=user,
        sender_name=reading.text(body, "user_name"),
        address=Address(
            conversation=channel,
            recipient=user,
            handle=handle,
            handle_expires=request.received_at + HANDLE_LIFE if handle else None,
            handle_uses=HANDLE_USES if handle else None,
            extra=_extra(body, channel, me),
        ),
        text=_readable(reading.text(body, "text"), me.user_id) or reading.text(body, "command"),
        sent_at=request.received_at,
        raw=_kept(body),
    )


def external_id(channel: str, stamp: str) -> str:
    """A `ts` is unique within its channel; it is a string, never a number."""
    return f"{channel}:{stamp}"


def _kept(body: Mapping[str, object]) -> Mapping[str, object]:
    """The payload without what could be used to act in its place."""
    return {name: value for name, value in body.items() if name not in _BEARERS}


def _trusted(url: str, me: Self) -> bool:
    """A `response_url` is called later, so its host must be Slack's."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.lower()
    except ValueError:
        return False
    return host in me.handle_hosts and (parts.scheme == "https" or host != "hooks.slack.com")


def _our_user(body: Mapping[str, object], me: Self) -> str:
    first = next(iter(reading.items(body, "authorizations")), {})
    return me.user_id or reading.text(first, "user_id")


def _is_ours(message: Mapping[str, object], body: Mapping[str, object], me: Self) -> bool:
    ours = _our_user(body, me)
    app_id = reading.text(message, "app_id") or reading.text(reading.mapping(message, "bot_profile"), "app_id")
    sent_by_us = bool(message.get("bot_id")) and bool(app_id) and app_id == reading.text(body, "api_app_id")
    return sent_by_us or bool(ours and reading.text(message, "user") == ours)


def _addressed(event: Mapping[str, object], words: str, ours: str, me: Self) -> bool:
    direct = event.get("channel_type") == "im" or reading.text(event, "channel").startswith("D")
    if direct or me.answer_all or event.get("type") == "app_mention":
        return True
    return bool(ours) and (f"<@{ours}>" in words or reading.text(event, "parent_user_id") == ours)


def _address(event: Mapping[str, object], body: Mapping[str, object], *, me: Self, addressed: bool = False) -> Address:
    """A question in a channel is answered in a thread under it; other talk belongs to the channel as a whole."""
    channel, stamp = reading.text(event, "channel"), reading.text(event, "ts")
    direct = event.get("channel_type") == "im" or channel.startswith("D")
    root = stamp if addressed and me.in_threads and not direct else ""
    return Address(
        conversation=channel,
        thread=reading.text(event, "thread_ts") or root,
        recipient=reading.text(event, "user"),
        extra=_extra(body, channel, me),
    )


def _extra(body: Mapping[str, object], channel: str, me: Self) -> Mapping[str, str]:
    """What a stream in a channel needs beside the thread."""
    team = reading.text(body, "team_id") or reading.text(reading.mapping(body, "team"), "id") or me.team_id
    return {"team": team, "direct": "yes" if channel.startswith("D") else ""}


def _quoted(event: Mapping[str, object], channel: str) -> str:
    root = reading.text(event, "thread_ts")
    return external_id(channel, root) if root and root != reading.text(event, "ts") else ""


def _attachment(file: Mapping[str, object]) -> Attachment:
    media_type = reading.text(file, "mimetype")
    major = media_type.partition("/")[0]
    kinds = {"image": AttachmentKind.IMAGE, "audio": AttachmentKind.AUDIO, "video": AttachmentKind.VIDEO}
    voice = reading.text(file, "subtype") == "slack_audio"
    return Attachment(
        kind=AttachmentKind.VOICE if voice else kinds.get(major, AttachmentKind.FILE),
        name=reading.text(file, "name"),
        media_type=media_type,
        size=reading.integer(file, "size"),
        url=reading.text(file, "url_private_download") or reading.text(file, "url_private"),
        platform_id=reading.text(file, "id"),
    )


def _readable(words: str, ours: str) -> str:
    """mrkdwn as a person reads it, without the mention of us in front."""
    if ours and words.startswith(f"<@{ours}>"):
        words = words[len(ours) + 3 :].lstrip(" ,:\n") or words
    return html.unescape(_REFERENCE.sub(_reference, words)) if "<" in words or "&" in words else words


def _reference(found: re.Match[str]) -> str:
    target, _, label = found[1].partition("|")
    if target.startswith(("@", "#")):
        return target[0] + (label or target[1:])
    if target.startswith("!"):
        return f"@{label.lstrip('@') or target[1:].partition('^')[0]}"
    bare = target.removeprefix("mailto:").removeprefix("tel:")
    return f"{label} ({bare})" if label and bare and label != bare else bare or label
