"""Files over the chat's doors: an upload piece by piece as it comes, and the bytes for those who may see them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote
from uuid import UUID

from hub.edges import filetypes, looks
from hub.edges.doors import FILES
from hub.edges.guard import ClientGone, Refused
from hub.edges.http import Header, Receive, Scope, Send, more
from hub.edges.showing import address_of
from hub.pipeline.bodies import clean
from hub.pipeline.uploads import CHUNK_BYTES, StoredUpload, UploadRefused, Uploads, UploadUnknown

if TYPE_CHECKING:
    from hub.edges.visit import Visit

UPLOAD_SECONDS: Final = 300.0
PIECE_SECONDS: Final = 20.0
"""How long a client may send nothing."""
MAX_ARRIVING: Final = 16
"""Uploads that one process takes at a time; each holds one piece in memory."""
MAX_NAME: Final = 200
_REFUSALS: Final = {
    "storage_full": (507, "the storage of this chat is used up"),
    "upload_quota": (429, "too much was uploaded within a day"),
}
SAFE: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"referrer-policy", b"no-referrer"),
)

_arriving = 0


@dataclass(frozen=True, slots=True)
class _Announced:
    """What the request says of the file."""

    name: str
    declared: str
    size: int


async def take(visit: "Visit", scope: Scope, headers: Mapping[str, str], receive: Receive) -> dict[str, Any]:
    """Store the file that the request carries; the answer as the protocol has it. Raises Refused, Unavailable."""
    global _arriving
    options = looks.options_of(visit.connection)
    if not options.uploads:
        raise Refused(403, "uploads_off", "this chat takes no files")
    announced = _announced(scope, headers, looks.max_bytes(options))
    FILES.spend(visit.connection.id, visit.visitor.id)
    if _arriving >= MAX_ARRIVING:
        raise Refused(503, "unavailable", "many files are arriving: try again shortly", wait=3.0)
    _arriving += 1
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            stored = await _Arrival(visit, announced, frozenset(options.upload_types.split())).take(receive)
    except TimeoutError:
        raise Refused(408, "body_too_slow", "the file came too slowly") from None
    finally:
        _arriving -= 1
    return {
        "type": "upload",
        "upload": str(stored.id),
        "kind": stored.kind.value,
        "name": stored.name,
        "media_type": stored.media_type,
        "size": stored.size,
        "url": address_of(visit.connection.public_id, stored.id),
    }


def _announced(scope: Scope, headers: Mapping[str, str], most: int) -> _Announced:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "encoding_unsupported", "a packed body is not accepted")
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        raise Refused(411, "length_required", "Content-Length is required")
    if not int(length):
        raise Refused(400, "empty", "the file is empty")
    if int(length) > most:
        raise Refused(413, "too_large", f"a file holds at most {most} bytes")
    query = parse_qs(scope["query_string"].decode("latin-1"))
    return _Announced(file_name(query.get("name", [""])[0]), headers.get("content-type", ""), int(length))


def file_name(text: str) -> str:
    """A name without folders and signs that no file name needs."""
    last = clean(text).replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in last if char.isprintable()).strip(" .")[:MAX_NAME]


class _Arrival:
    """One file on its way in. What does not arrive whole is deleted at once, after a crash within a day."""

    def __init__(self, visit: "Visit", announced: _Announced, allowed: frozenset[str]) -> None:
        self._visit, self._announced, self._allowed = visit, announced, allowed
        self._uploads: Uploads = visit.chat.uploads
        self._tenant_id = visit.connection.tenant_id
        self._text: filetypes.TextCheck | None = None

    async def take(self, receive: Receive) -> StoredUpload:
        pieces = _pieces(receive, self._announced.size)
        first = await anext(pieces)
        stored = await self._begin(first)
        try:
            await self._keep(stored, 0, first)
            position = 1
            async for piece in pieces:
                await self._keep(stored, position, piece)
                position += 1
            self._check(b"", final=True)
            await self._uploads.finish(self._tenant_id, stored.id)
        except UploadUnknown:
            raise Refused(503, "unavailable", "the file took too long: send it again", wait=1.0) from None
        except BaseException:
            # Also when the client has gone: the task may be cancelled already, the deletion must not be.
            await asyncio.shield(self._uploads.drop(self._tenant_id, [stored.id]))
            raise
        return stored

    async def _begin(self, first: bytes) -> StoredUpload:
        announced = self._announced
        found = filetypes.tell(first[: filetypes.LOOK_BYTES], name=announced.name, declared=announced.declared)
        if found not in self._allowed:
            raise Refused(415, "type_refused", "this kind of file is not accepted, or it is not what it says it is")
        if found in filetypes.TEXTS:
            self._text = filetypes.TextCheck()
        try:
            return await self._uploads.begin(
                self._visit.connection,
                self._visit.visitor.id,
                name=announced.name,
                media_type=found,
                size=announced.size,
            )
        except UploadRefused as refusal:
            status, message = _REFUSALS[refusal.code]
            raise Refused(status, refusal.code, message) from None

    async def _keep(self, stored: StoredUpload, position: int, piece: bytes) -> None:
        self._check(piece)
        await self._uploads.write(self._tenant_id, stored.id, position, piece)

    def _check(self, piece: bytes, *, final: bool = False) -> None:
        if self._text is not None and not self._text.feed(piece, final=final):
            raise Refused(415, "type_refused", "this is not a text in UTF-8")


async def _pieces(receive: Receive, size: int) -> AsyncIterator[bytes]:
    """The body in pieces of CHUNK_BYTES, the last one shorter. Raises Refused, ClientGone."""
    held, came, whole = bytearray(), 0, False
    while not whole:
        try:
            async with asyncio.timeout(PIECE_SECONDS):
                message = await receive()
        except TimeoutError:
            raise Refused(408, "body_too_slow", "the file came too slowly") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        held += message.get("body", b"")
        came += len(message.get("body", b""))
        whole = not message.get("more_body")
        if came > size or (whole and came < size):
            raise Refused(400, "length_malformed", "the body is not as long as it was announced")
        while len(held) >= CHUNK_BYTES or (whole and held):
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]


async def give(uploads: Uploads, tenant_id: UUID, stored: StoredUpload, send: Send, headers: list[Header]) -> None:
    """Send a file: pictures are shown, everything else is saved; nothing in it can run as a page of ours."""
    start = [
        (b"content-type", stored.media_type.encode()),
        (b"content-length", b"%d" % stored.size),
        (b"content-disposition", disposition(stored.name, inline=stored.media_type.startswith("image/")).encode()),
        (b"cache-control", b"private, max-age=86400, immutable"),
        *SAFE,
        *headers,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": start})
    try:
        async for piece in uploads.read(tenant_id, stored):
            async with asyncio.timeout(PIECE_SECONDS):
                await more(send, piece)
    except (TimeoutError, UploadUnknown):
        # The length was announced: an answer that ends early is seen as broken by the client.
        raise ClientGone from None
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def disposition(name: str, *, inline: bool) -> str:
    """How a browser is to take a file (RFC 6266): the name in ASCII for old ones, whole for the others."""
    kind = "inline" if inline else "attachment"
    plain = "".join(char if char.isascii() and char not in '"\\%' else "_" for char in name)
    return f"{kind}; filename=\"{plain or 'file'}\"; filename*=UTF-8''{quote(name or 'file', safe='')}"
