"""The words of the chat protocol (docs/chat-protocol.md), the same over WebSocket and server-sent events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import orjson

from channels_adapters.types import Attachment, AttachmentKind
from hub.edges.guard import Refused
from hub.edges.showing import show_message
from hub.pipeline.messages import NEWEST
from hub.pipeline.stream import Cursor, StreamEvent

MAX_FRAME: Final = 64 * 1024
MAX_TEXT: Final = 32_000
MAX_CLIENT_ID: Final = 100
MAX_ATTACHMENTS: Final = 10
MAX_URL: Final = 2048
MAX_PAGE: Final = 100
MAX_FORM: Final = 20
MAX_SEQ: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class Hello:
    """The client's first frame: who it was last time and how far it came."""

    token: str = ""
    cursor: Cursor = Cursor.START
    session: str = ""
    """The session that the cursor belongs to."""
    identity: str = ""
    """A site's word on who this is."""


@dataclass(frozen=True, slots=True)
class Say:
    """A message of the visitor; `client_id` makes its repetition recognisable."""

    client_id: str
    text: str
    attachments: tuple[Attachment, ...] = ()
    uploads: tuple[UUID, ...] = ()
    """Files that were uploaded before."""
    edits: UUID | None = None
    """The message that this one says anew; without text and files: says again."""
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stop:
    """End the running answer."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Is anybody there."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to our ping."""


@dataclass(frozen=True, slots=True)
class Past:
    """Show the messages before `before`, at most `limit`."""

    before: int
    limit: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything up to `seq` was seen."""

    seq: int


@dataclass(frozen=True, slots=True)
class Identify:
    """A site's word on who this is."""

    token: str


Frame = Hello | Say | Stop | Ping | Pong | Past | Seen | Identify
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
    simple = _SIMPLE.get(str(kind))
    if simple is not None:
        return simple
    reader = _READERS.get(str(kind))
    if reader is None:
        raise Refused(400, "unknown_type", f"the type of a frame is {', '.join([*_READERS, *_SIMPLE])}")
    return reader(found)


def parse_hello(found: Mapping[str, Any]) -> Hello:
    """The first frame from JSON. Raises Refused."""
    return Hello(
        _text(found, "token", limit=MAX_FRAME),
        parse_cursor(_text(found, "cursor", limit=64)),
        _text(found, "session", limit=64),
        _text(found, "identity", limit=MAX_FRAME),
    )


def parse_past(found: Mapping[str, Any]) -> Past:
    """A look back from JSON. Raises Refused."""
    limit = found.get("limit")
    return Past(_number(found, "before"), NEWEST if limit is None else max(1, min(_number(found, "limit"), MAX_PAGE)))


def parse_seen(found: Mapping[str, Any]) -> Seen:
    """A read position from JSON. Raises Refused."""
    return Seen(_number(found, "seq"))


def parse_identify(found: Mapping[str, Any]) -> Identify:
    """A site's word from JSON. Raises Refused."""
    return Identify(_text(found, "token", limit=MAX_FRAME))


def parse_say(found: Mapping[str, Any]) -> Say:
    """A message from JSON. Raises Refused."""
    text = _text(found, "text", limit=MAX_TEXT)
    client_id = _text(found, "client_id", limit=MAX_CLIENT_ID)
    attachments, uploads = _attachments(found.get("attachments") or [])
    edits = _ident(found["edits"], "edits") if found.get("edits") else None
    if not client_id:
        raise Refused(400, "malformed", "client_id is missing", param="client_id")
    if not (text.strip() or attachments or uploads or edits):
        raise Refused(400, "empty", "a message needs a text or an attachment", param="text")
    return Say(client_id, text, attachments, uploads, edits, _form(found.get("form") or {}))


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


def _number(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_SEQ:
        raise Refused(400, "malformed", f"{name} must be a whole number", param=name)
    return value


def _ident(value: object, name: str) -> UUID:
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        raise Refused(400, "malformed", f"{name} must be an id", param=name) from None


def _form(found: object) -> dict[str, str]:
    if not isinstance(found, dict) or len(found) > MAX_FORM:
        raise Refused(400, "malformed", "form is an object of texts", param="form")
    return {name: _text(found, name, limit=4000) for name in found}


def _attachments(found: object) -> tuple[tuple[Attachment, ...], tuple[UUID, ...]]:
    if not isinstance(found, list) or len(found) > MAX_ATTACHMENTS:
        raise Refused(400, "malformed", f"attachments is a list of at most {MAX_ATTACHMENTS}", param="attachments")
    if not all(isinstance(item, dict) for item in found):
        raise Refused(400, "malformed", "an attachment is an object", param="attachments")
    uploads = [_ident(item["upload"], "upload") for item in found if item.get("upload")]
    return tuple(_attachment(item) for item in found if not item.get("upload")), tuple(dict.fromkeys(uploads))


def _attachment(item: Mapping[str, Any]) -> Attachment:
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


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Frame]]] = {
    "hello": parse_hello,
    "say": parse_say,
    "history": parse_past,
    "read": parse_seen,
    "identify": parse_identify,
}


def now() -> str:
    """The server's clock, as frames tell times."""
    return datetime.now(UTC).isoformat()


def encode(kind: str, **fields: object) -> bytes:
    """A frame of ours."""
    return orjson.dumps({"type": kind, **fields}, default=str)


def encode_event(event: StreamEvent, public_id: str) -> bytes:
    """An event of the conversation: its type, where the client is after it, and what it tells."""
    if event.type == "message":
        message = show_message(event.data, public_id)
        return orjson.dumps({"type": "message", "cursor": str(event.cursor), "message": message}, default=str)
    return orjson.dumps({**event.data, "type": event.type, "cursor": str(event.cursor)}, default=str)


def encode_error(refused: Refused, **fields: object) -> bytes:
    """A refusal as the client reads it."""
    if refused.wait is not None:
        fields["retry_after"] = max(1, round(refused.wait))
    if refused.param:
        fields["param"] = refused.param
    return encode("error", code=refused.code, message=refused.message, **fields)
