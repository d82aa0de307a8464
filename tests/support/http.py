"""An aiohttp client with the contract of `channels_adapters.base.Http`, for tests against servers on sockets."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import aiohttp

from channels_adapters.base import HttpResponse
from channels_adapters.errors import NotConnected, OutcomeUnknown


class SocketHttp:
    """Real connections, no checks of addresses: tests talk to loopback. `limit` caps every call's time-out."""

    def __init__(self, *, limit: float = 60.0) -> None:
        self._limit = limit
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

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
        assert self._session is not None
        limits = aiohttp.ClientTimeout(total=min(timeout, self._limit), sock_connect=min(5.0, self._limit))
        body: object = data
        if files:
            body = aiohttp.FormData()
            for name, value in (form or {}).items():
                body.add_field(name, value)
            for field, name, media_type, content in files:
                body.add_field(field, content, filename=name, content_type=media_type)
        elif form is not None:
            body = dict(form)
        try:
            async with self._session.request(
                method, url, headers=headers, json=json, data=body, timeout=limits, allow_redirects=False
            ) as response:
                content = await response.content.read(max_bytes + 1)
                while len(content) <= max_bytes and not response.content.at_eof():
                    content += await response.content.read(max_bytes + 1 - len(content))
                if len(content) > max_bytes:
                    raise OutcomeUnknown("the answer is too large", status=response.status)
                return HttpResponse(status=response.status, headers=dict(response.headers), body=content)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotConnected("no connection") from error
        except (TimeoutError, aiohttp.ClientError) as error:
            raise OutcomeUnknown("no whole answer") from error


class NoKeys:
    """A key source without keys, for channels that need none."""

    def get(self, url: str) -> Mapping[str, object] | None:
        return None
