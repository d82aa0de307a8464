"""What every raw door refuses before anything is looked at: too much, too slow, packed, or too many headers."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from hub.edges.http import Header, Receive, Scope, retry_after
from hub.edges.within import within

WEBHOOK_BODY: Final = 256 * 1024
API_BODY: Final = 1024 * 1024
BODY_SECONDS: Final = 10.0
MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 32 * 1024
MAX_QUERY_BYTES: Final = 8 * 1024
MAX_COUNTED: Final = 10_000


class Refused(Exception):
    """A request that is answered with `status` and goes no further. `code` is for programs, the text for people."""

    def __init__(self, status: int, code: str, message: str, *, wait: float | None = None, param: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.wait = wait

    @property
    def headers(self) -> list[Header]:
        """What belongs to this refusal."""
        return [] if self.wait is None else [retry_after(self.wait)]


class ClientGone(Exception):
    """Nobody waits for an answer any more."""


def request_headers(scope: Scope) -> dict[str, str]:
    """The request's headers, lower case; repeated ones joined by commas. Raises Refused when there are too many."""
    raw: list[Header] = scope["headers"]
    if len(raw) > MAX_HEADERS or sum(len(name) + len(value) for name, value in raw) > MAX_HEADER_BYTES:
        raise Refused(431, "headers_too_large", "the request's headers are too large")
    if len(scope["query_string"]) > MAX_QUERY_BYTES:
        raise Refused(414, "query_too_long", "the query is too long")
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
    return found if len(found) == len(raw) else _joined(raw)


def _joined(raw: list[Header]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def address_of(scope: Scope) -> str:
    """Where the request comes from, as the server sees it; a proxy in front is one address."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def require_method(scope: Scope, *methods: str) -> None:
    """Raises Refused (405) for any other method."""
    if scope["method"] not in methods:
        raise Refused(405, "method_not_allowed", f"only {' and '.join(methods)} is answered here")


async def read_body(headers: dict[str, str], receive: Receive, *, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body, counted as it comes. Raises Refused (408, 413, 415) or ClientGone."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "encoding_unsupported", "a packed body is not accepted")
    length = headers.get("content-length", "0")
    if not length.isdigit():
        raise Refused(400, "length_malformed", "the content-length is not a number")
    if int(length) > limit:
        raise _too_large(limit)
    try:
        return await within(seconds, _read(receive, limit))
    except TimeoutError:
        raise Refused(408, "body_too_slow", "the request's body came too slowly") from None


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int) -> Refused:
    return Refused(413, "body_too_large", f"the body is larger than {limit} bytes")


async def until_gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Counters:
    """What happened on each connection of this process lately: the least recently used beyond 10 000 are dropped."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, UUID], dict[str, int]] = OrderedDict()

    def note(self, channel: str, connection_id: UUID, outcome: str) -> None:
        """Count one outcome; its names are constants."""
        key = (channel, connection_id)
        counts = self._found.get(key)
        if counts is None:
            counts = self._found[key] = {}
            if len(self._found) > MAX_COUNTED:
                self._found.popitem(last=False)
        else:
            self._found.move_to_end(key)
        counts[outcome] = counts.get(outcome, 0) + 1

    def __iter__(self) -> Iterator[tuple[str, UUID, str, int]]:
        for (channel, connection_id), counts in self._found.items():
            for outcome, count in counts.items():
                yield channel, connection_id, outcome, count


COUNTERS: Final = Counters()
"""The process's counters, shown by /metrics to those who may see details."""
