"""The words of the chat protocol (docs/chat-protocol.md), the same over WebSocket and server-sent events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from channels_adapters.types import Attachment, AttachmentKind
from hub.edges.guard import Refused
from hub.pipeline.stream import Cursor, StreamEvent

MAX_FRAME: Final = 64 * 1024
MAX_TEXT: Final = 32_000
MAX_CLIENT_ID: Final = 100
MAX_ATTACHMENTS: Final = 10
MAX_URL: Final = 2048


@dataclass(frozen=True, slots=True)
class Hello:
    """The client's first frame: who it was last time and how far it came."""

    token: str = ""
    cursor: Cursor = Cursor.START
    session: str = ""
    """The session that the cursor belongs to."""


@dataclass(frozen=True, slots=True)
class Say:
    """A message of the visitor; `client_id` makes its repetition recognisable."""

    client_id: str
    text: str
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """End the running answer."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Is anybody there."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to our ping."""


Frame = Hello | Say | Stop | Ping | Pong
_SIMPLE: Final[Mapping[str, Frame]] = {"stop": Stop(), "ping": Ping(), "pong": Pong()}


def parse(data: str | bytes) -> Frame:
    """The frame in a text message. Raises Refused with the code that the client is told."""
    if len(data) > MAX_FRAME or (isinstance(data, str) and len(data) * 4 > MAX_FRAME < len(data.encode())):
        raise Refused(413, "frame_too_large", f"a frame holds at most {MAX_FRAME} bytes")
    try:
        found = orjson.loads(data)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise Refused(400, "malformed", "a frame is a JSON object") from None
    if not isinstance(found, dict):
        raise Refused(400, "malformed", "a frame is a JSON object")
    kind = found.get("type")
    if kind == "hello":
        cursor = parse_cursor(_text(found, "cursor", limit=64))
        return Hello(_text(found, "token", limit=MAX_FRAME), cursor, _text(found, "session", limit=64))
    if kind == "say":
        return parse_say(found)
    simple = _SIMPLE.get(str(kind))
    if simple is None:
        raise Refused(400, "unknown_type", "the type of a frame is hello, say, stop, ping or pong")
    return simple


def parse_say(found: Mapping[str, Any]) -> Say:
    """A message from JSON. Raises Refused."""
    text = _text(found, "text", limit=MAX_TEXT)
    client_id = _text(found, "client_id", limit=MAX_CLIENT_ID)
    attachments = _attachments(found.get("attachments") or [])
    if not client_id:
        raise Refused(400, "malformed", "client_id is missing", param="client_id")
    if not text.strip() and not attachments:
        raise Refused(400, "empty", "a message needs a text or an attachment", param="text")
    return Say(client_id, text, attachments)


def parse_cursor(text: str) -> Cursor:
    """A cursor; an empty text is the beginning. Raises Refused."""
    try:
        return Cursor.parse(text) if text else Cursor.START
    except ValueError as error:
        raise Refused(400, "bad_cursor", str(error), param="cursor") from None


def _text(found: Mapping[str, Any], name: str, *, limit: int) -> str:
    value = found.get(name) or ""
    if not isinstance(value, str):
        raise Refused(400, "malformed", f"{name} must be a text", param=name)
    if len(value) > limit:
        raise Refused(413, "too_long", f"{name} holds at most {limit} characters", param=name)
    return value


def _attachments(found: object) -> tuple[Attachment, ...]:
    if not isinstance(found, list) or len(found) > MAX_ATTACHMENTS:
        raise Refused(400, "malformed", f"attachments is a list of at most {MAX_ATTACHMENTS}", param="attachments")
    return tuple(_attachment(item) for item in found)


def _attachment(item: object) -> Attachment:
    if not isinstance(item, dict):
        raise Refused(400, "malformed", "an attachment is an object", param="attachments")
    url, media_type = _text(item, "url", limit=MAX_URL), _text(item, "media_type", limit=100)
    if not _is_web(url):
        raise Refused(400, "malformed", "an attachment needs an http or https url", param="attachments")
    kinds = {"image": AttachmentKind.IMAGE, "audio": AttachmentKind.AUDIO, "video": AttachmentKind.VIDEO}
    kind = kinds.get(media_type.partition("/")[0], AttachmentKind.FILE)
    return Attachment(kind=kind, name=_text(item, "name", limit=200), media_type=media_type, url=url)


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def encode(kind: str, **fields: object) -> bytes:
    """A frame of ours."""
    return orjson.dumps({"type": kind, **fields}, default=str)


def encode_event(event: StreamEvent) -> bytes:
    """An event of the conversation: its type, where the client is after it, and what it tells."""
    if event.type == "message":
        return orjson.dumps({"type": "message", "cursor": str(event.cursor), "message": event.data}, default=str)
    return orjson.dumps({**event.data, "type": event.type, "cursor": str(event.cursor)}, default=str)


def encode_error(refused: Refused, **fields: object) -> bytes:
    """A refusal as the client reads it."""
    if refused.wait is not None:
        fields["retry_after"] = max(1, round(refused.wait))
    return encode("error", code=refused.code, message=refused.message, **fields)
