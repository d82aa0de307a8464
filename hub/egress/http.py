"""Requests of adapters: bounded, classified, redirected only where it is safe."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
import orjson
from yarl import URL

from channels_adapters.base import HttpResponse
from channels_adapters.errors import ContentRefused, NotConnected, OutcomeUnknown, Permanent
from hub.egress.policy import Policy, Refused

MAX_REDIRECTS: Final = 3
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEPT_ACROSS_HOSTS: Final = frozenset({"accept", "accept-language", "user-agent", "range"})
_NEVER_CONNECTED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


class Sessions(Protocol):
    """What is needed of the egress client."""

    policy: Policy

    @property
    def plain(self) -> aiohttp.ClientSession:
        """A session whose requests say `allow_redirects=False`."""
        ...


class GuardedHttp:
    """`channels_adapters.base.Http` over the egress client."""

    def __init__(self, egress: Sessions) -> None:
        self._egress = egress

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object | None = None,
        data: bytes | None = None,
        files: Sequence[tuple[str, str, str, bytes]] = (),
        form: Mapping[str, str] | None = None,
        timeout: float = 15.0,
        max_bytes: int = 1 << 20,
    ) -> HttpResponse:
        """See `Http.request`. Reading requests follow at most three redirects; others get the redirect as the answer.

        Raises Permanent for an address that may not be reached and ContentRefused for an answer that is too large.
        """
        sent, body = _body(dict(headers or {}), json=json, data=data, files=files, form=form)
        call = _Call(method=method.upper(), url=_parse(url), headers=sent, body=body, max_bytes=max_bytes)
        try:
            async with asyncio.timeout(timeout):
                return await self._follow(call)
        except TimeoutError:
            raise _lost(call, "no whole answer in time") from None

    async def _follow(self, call: "_Call") -> HttpResponse:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._once(call)
            location = response.headers.get("location")
            if response.status not in REDIRECTS or call.method not in ("GET", "HEAD") or not location:
                return response
            call.follow(location)
        raise ContentRefused("too many redirects", code="too_many_redirects")

    async def _once(self, call: "_Call") -> HttpResponse:
        try:
            self._egress.policy.check_url(call.url)
        except Refused as error:
            raise Permanent(str(error), code="egress_refused") from None
        session = self._egress.plain
        try:
            async with session.request(
                call.method, call.url, headers=call.headers, data=call.body, allow_redirects=False
            ) as response:
                call.sent = True
                body = await _read(response, call)
                return HttpResponse(response.status, {k.lower(): v for k, v in response.headers.items()}, body)
        except _NEVER_CONNECTED as error:
            if isinstance(getattr(error, "os_error", None), Refused):
                raise Permanent(str(error.os_error), code="egress_refused") from None  # type: ignore[union-attr]
            raise NotConnected(f"{call.url.raw_host}: no connection") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(call, type(error).__name__) from None


@dataclass(slots=True)
class _Call:
    method: str
    url: URL
    headers: dict[str, str]
    body: bytes | aiohttp.FormData | None
    max_bytes: int
    sent: bool = False

    def follow(self, location: str) -> None:
        """Go where an answer points, without credentials when that is another place."""
        target = self.url.join(_parse(location, relative=True))
        if target.scheme not in ("http", "https") or not target.raw_host:
            raise Permanent("a redirect leads to no web address", code="egress_refused")
        if self.url.scheme == "https" and target.scheme != "https":
            raise Permanent("a redirect leads away from https", code="egress_refused")
        if target.origin() != self.url.origin():
            self.headers = {k: v for k, v in self.headers.items() if k.lower() in _KEPT_ACROSS_HOSTS}
        self.url, self.body = target, None


def _parse(url: str, *, relative: bool = False) -> URL:
    try:
        parsed = URL(url)
        usable = relative or parsed.absolute
    except ValueError:
        usable = False
    if not usable:
        raise Permanent("not an address", code="egress_refused")
    return parsed


def _lost(call: _Call, what: str) -> OutcomeUnknown | NotConnected:
    # A read that got no answer had no effect that matters: it may simply be tried again.
    kind = NotConnected if call.method in ("GET", "HEAD") else OutcomeUnknown
    return kind(f"{call.url.raw_host}: {what}")


def _body(
    headers: dict[str, str],
    *,
    json: object | None,
    data: bytes | None,
    files: Sequence[tuple[str, str, str, bytes]],
    form: Mapping[str, str] | None,
) -> tuple[dict[str, str], bytes | aiohttp.FormData | None]:
    if json is not None:
        if not any(name.lower() == "content-type" for name in headers):
            headers["content-type"] = "application/json"
        return headers, orjson.dumps(json)
    if not files and form is None:
        return headers, data
    body = aiohttp.FormData(dict(form or {}), default_to_multipart=bool(files))
    for name, filename, media_type, content in files:
        body.add_field(name, content, filename=filename, content_type=media_type)
    return headers, body


async def _read(response: aiohttp.ClientResponse, call: _Call) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > call.max_bytes:
            response.close()
            detail = f"{call.url.raw_host}: the answer is larger than {call.max_bytes} bytes"
            raise ContentRefused(detail, status=response.status, code="answer_too_large")
        chunks.append(chunk)
    return b"".join(chunks)
