"""What a platform's HTTP answer means, decided once; a platform adds only the codes of its own."""

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import orjson

from channels_adapters.base import Http, HttpResponse
from channels_adapters.errors import (
    ChannelError,
    ContentRefused,
    CredentialsRevoked,
    OutcomeUnknown,
    Permanent,
    RateLimited,
    RecipientGone,
    Transient,
    Unavailable,
)
from channels_adapters.types import EMPTY

LONGEST_WAIT = 3600.0
"""Seconds; a platform that asks for more is asked again after an hour, inside the delivery window or not at all."""

ErrorTable = Mapping[str, type[ChannelError]]
"""A platform's own error codes, and what each one means for the pipeline."""

STATUSES: Mapping[int, type[ChannelError]] = {
    401: CredentialsRevoked,
    403: RecipientGone,
    404: RecipientGone,
    408: Unavailable,
    409: Unavailable,
    410: RecipientGone,
    425: Unavailable,
    429: RateLimited,
    504: OutcomeUnknown,  # a gateway gave up waiting: whoever is behind it may have done the work
}


def json_of(response: HttpResponse) -> Mapping[str, object]:
    """The JSON object of an answer; empty when there is none, for answers whose status already says everything."""
    try:
        value = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return EMPTY
    return value if isinstance(value, dict) else EMPTY


def error_for_status(status: int, *, statuses: Mapping[int, type[ChannelError]] | None = None) -> type[ChannelError]:
    """The error that an HTTP status other than 2xx stands for; `statuses` are the platform's exceptions to the rule."""
    known = {**STATUSES, **(statuses or {})}
    if status in known:
        return known[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable
    return ContentRefused if status >= HTTPStatus.BAD_REQUEST else Permanent


async def download(
    http: Http, url: str, *, max_bytes: int, headers: Mapping[str, str] | None = None, timeout: float = 60.0
) -> HttpResponse:
    """A file, whole. Raises ContentRefused when it is not (or no longer) there for us."""
    response = await http.request("GET", url, headers=headers, timeout=timeout, max_bytes=max_bytes)
    if response.status == HTTPStatus.OK:
        return response
    kind = error_for_status(response.status, statuses=dict.fromkeys((302, 403, 404, 410), ContentRefused))
    wait = wait_from_header(response.headers)
    raise make_error(kind, "the file could not be fetched", status=response.status, wait=wait)


def make_error(
    kind: type[ChannelError], detail: str, *, status: int | None = None, code: str = "", wait: float | None = None
) -> ChannelError:
    """Build an error of `kind`; `wait` (seconds) counts only for those that can be tried again."""
    if issubclass(kind, Transient):
        return kind(detail, retry_after=wait, status=status, code=code)
    return kind(detail, status=status, code=code)


def wait_from_header(headers: Mapping[str, str], *, now: Callable[[], float] | None = None) -> float | None:
    """Seconds in `Retry-After` (a number, or an HTTP date when the caller gives a clock), else None."""
    value = next((text for name, text in headers.items() if name.lower() == "retry-after"), "").strip()
    if not value:
        return None
    try:
        return bounded_wait(float(value))
    except ValueError:
        pass
    if now is None:
        return None
    try:
        return bounded_wait(parsedate_to_datetime(value).timestamp() - now())
    except ValueError:
        return None


def bounded_wait(seconds: float | None) -> float | None:
    """A wait that can be trusted: finite, not negative, at most an hour."""
    if seconds is None or seconds != seconds:
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT)
