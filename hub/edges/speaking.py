"""The chat's requests, beside its streams: say, stop, look back, files, and what a page asks before it is a visitor."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

import orjson

from hub.edges import files, frames, looks, recognising, showing, visit, visitors
from hub.edges.doors import OPENINGS
from hub.edges.guard import API_BODY, ClientGone, Refused, address_of, read_body, request_headers, require_method
from hub.edges.http import Header, Receive, Scope, Send, respond, respond_json
from hub.edges.visit import Visit
from hub.pipeline.connections import LiveConnection
from hub.runtime import get_runtime

PREFLIGHT: Final[tuple[Header, ...]] = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
    (b"access-control-max-age", b"600"),
)
SETTINGS_SECONDS: Final = 30
LOGO_SECONDS: Final = 24 * 3600

_NO_STORE: Final[tuple[Header, ...]] = ((b"cache-control", b"no-store"),)
_LIFE: Final[Mapping[str, tuple[Header, ...]]] = {
    "settings": ((b"cache-control", b"private, max-age=%d" % SETTINGS_SECONDS),)
}

Given = Mapping[str, Any]
Answer = tuple[int, dict[str, Any]]


def cors(headers: Mapping[str, str]) -> list[Header]:
    """What a page of another origin, which was let in, needs to read the answer."""
    origin = headers.get("origin", "")
    if not origin:
        return [(b"vary", b"Origin")]
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"retry-after"),
        (b"vary", b"Origin"),
    ]


def bearer(headers: Mapping[str, str]) -> str:
    """The token of the Authorization header, empty without one."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


async def speak(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request under `/sse/chat/<public id>/`, and the browser's question before it."""
    origin: list[Header] = []
    try:
        headers = request_headers(scope)
        route = scope["url_route"]["kwargs"]
        with visit.storage():
            if route["act"] in _OPEN and scope["method"] != "OPTIONS":
                await _OPEN[route["act"]](scope, headers, send)
                return
            connection = await visit.find_connection(route["public_id"], headers)
            origin = cors(headers)
            if scope["method"] == "OPTIONS":
                await respond(send, 204, headers=[*origin, *PREFLIGHT])
                return
            status, answer = await _answered(connection, scope, headers, receive)
        await respond_json(send, status, answer, headers=[*origin, *_LIFE.get(route["act"], _NO_STORE)])
    except Refused as refused:
        await respond(send, refused.status, frames.encode_error(refused), headers=[*refused.headers, *origin])
    except ClientGone:
        return


async def _answered(connection: LiveConnection, scope: Scope, headers: dict[str, str], receive: Receive) -> Answer:
    act = scope["url_route"]["kwargs"]["act"]
    if act == "settings":
        require_method(scope, "GET")
        OPENINGS.spend(connection.id, address_of(scope))
        return 200, {"type": "settings", **await looks.settings_of(await get_runtime(), connection)}
    current = await Visit.begin(connection, bearer(headers), address=address_of(scope))
    if act == "history":
        require_method(scope, "GET")
        return 200, {"type": "history", **await current.past(_past(scope))}
    require_method(scope, "POST")
    if act == "uploads":
        if not bearer(headers):
            raise Refused(401, "bad_token", "say hello first: a file needs a visitor")
        return 201, await files.take(current, scope, headers, receive)
    body = await read_body(headers, receive, limit=min(API_BODY, frames.MAX_FRAME))
    if act == "stop":
        return 200, {"type": "stopped", "running": await current.stop()}
    return await _ACTS[act](current, _object(body))


async def _said(current: Visit, given: Given) -> Answer:
    ack = await current.say(frames.parse_say(given))
    token = visitors.issue(current.visitor)
    return 202, {"type": "ack", **ack, "session": str(current.session_id), "token": token}


async def _seen(current: Visit, given: Given) -> Answer:
    return 200, {"type": "read", "seq": await current.see(frames.parse_seen(given).seq)}


async def _recognised(current: Visit, given: Given) -> Answer:
    joined = await recognising.recognise(current, frames.parse_identify(given).token)
    return 200, {"type": "identified", **recognising.identified(current, joined=joined)}


_ACTS: Final[Mapping[str, Callable[[Visit, Given], Awaitable[Answer]]]] = {
    "messages": _said,
    "read": _seen,
    "identify": _recognised,
}


def _past(scope: Scope) -> frames.Past:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    given: dict[str, Any] = {}
    for name in ("before", "limit"):
        text = query.get(name, [""])[0]
        if text:
            given[name] = int(text) if text.isascii() and text.isdigit() and len(text) < 18 else text
    return frames.parse_past(given)


def _object(body: bytes) -> Given:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "malformed", "the body is a JSON object")
    return found


# ---- what pictures need: no page's script asks, so there is no origin to check ---------------------------------


async def _logo(scope: Scope, headers: dict[str, str], send: Send) -> None:
    require_method(scope, "GET", "HEAD")
    connection = await visit.find_any(scope["url_route"]["kwargs"]["public_id"])
    OPENINGS.spend(connection.id, address_of(scope))
    media_type, data = looks.logo_of(connection)
    life = (b"cache-control", b"public, max-age=%d" % LOGO_SECONDS)
    await respond(send, 200, data, media_type=media_type.encode(), headers=[life, *files.SAFE, *cors(headers)])


async def _file(scope: Scope, headers: dict[str, str], send: Send) -> None:
    """The bytes, for the visitor whose file it is, or whoever holds its signed address."""
    require_method(scope, "GET")
    route = scope["url_route"]["kwargs"]
    connection, ident = await visit.find_any(route["public_id"]), _ident(route["upload"])
    key = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[0]
    signed = bool(key) and showing.opens(connection.public_id, ident, key)
    if not signed and not bearer(headers):
        raise Refused(403, "key_refused", "this address is over, or was never given out")
    uploads = (await get_runtime()).chat.uploads
    stored = await uploads.find(connection.tenant_id, ident)
    if stored is None or stored.connection_id != connection.id:
        raise Refused(404, "not_found", "there is no such file")
    if not signed:
        current = await Visit.begin(connection, bearer(headers))
        if stored.owner != await uploads.owner(connection, current.visitor.id):
            raise Refused(404, "not_found", "there is no such file")
    allowed = visitors.origin_allowed(headers, visit.allowed_origins(connection))
    await files.give(uploads, connection.tenant_id, stored, send, cors(headers) if allowed else [])


def _ident(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refused(404, "not_found", "there is no such file") from None


_OPEN: Final[Mapping[str, Callable[[Scope, dict[str, str], Send], Awaitable[None]]]] = {
    "logo": _logo,
    "upload": _file,
}
