"""The guarded connections: resolver, sockets and sessions."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from agents.providers.wire import Line, Wire
from hub.egress.http import REDIRECTS, GuardedHttp
from hub.egress.keys import Keys
from hub.egress.policy import Policy, Refused, is_literal

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""All addresses of a host name; raises OSError."""

CONNECT_SECONDS: Final = 3.0
RESOLVE_SECONDS: Final = 3.0
IDLE_SECONDS: Final = 30.0
MAX_CONNECTIONS: Final = 2000


async def lookup(host: str, port: int) -> list[str]:
    """The system's answers for a name, within a time limit."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(RESOLVE_SECONDS):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class _Resolver(AbstractResolver):
    def __init__(self, policy: Policy, find: Lookup) -> None:
        self._policy = policy
        self._find = find

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 (answers of both)
    ) -> list[ResolveResult]:
        addresses = await self._find(host, port)
        if not addresses:
            raise OSError(f"{host} has no address")
        self._policy.check_answers(host, port, addresses)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


class RedirectRefused(aiohttp.ClientError):
    """A model endpoint answered with a redirect: its key must not follow."""


class _Connector(aiohttp.TCPConnector):
    """Checks every request's address, also where a connection to it is open already.

    As a middleware the same check costs twenty times as much: aiohttp builds the chain anew for each request.
    """

    def __init__(self, policy: Policy, **options: Any) -> None:
        super().__init__(**options)
        self._policy = policy

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """As aiohttp's; a refused address is a ClientConnectorError."""
        try:
            self._policy.check_url(req.url)
        except Refused as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from None
        return await super().connect(req, traces, timeout)


class Egress:
    """The guarded connections of one process: `models`, `session` for embeddings, `http` for adapters, and `keys`."""

    def __init__(self, *, allow: Sequence[str] = (), find: Lookup = lookup) -> None:
        self.policy = Policy(allow)
        self._find = find
        self._session: aiohttp.ClientSession | None = None
        self._plain: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self.models = Wire(self._dial, check=self.policy.check_url)
        """For calls of models, which set their own limits: bad addresses raise OSError, redirects are answers."""
        self.http = GuardedHttp(self)
        self.keys = Keys(self.http)

    async def open(self) -> None:
        """Make the sessions; needs a running loop. Idempotent."""
        if self._session is not None and not self._session.closed:
            return
        connector = _Connector(
            self.policy,
            limit=MAX_CONNECTIONS,
            resolver=_Resolver(self.policy, self._find),
            ttl_dns_cache=10,
            keepalive_timeout=IDLE_SECONDS,
            socket_factory=self._socket,
        )
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        self._session = _session(connector, limits, self._strictly)
        self._plain = _session(connector, limits)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None and self._plain is not None:
            connector = self._session.connector
            await self.models.close()
            await self._session.close()
            await self._plain.close()
            if connector is not None:
                await connector.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """For providers, which set their own limits: bad addresses and redirects raise aiohttp.ClientError."""
        return _opened(self._session)

    @property
    def plain(self) -> aiohttp.ClientSession:
        """As `session`, but a redirect is an answer; every request must say `allow_redirects=False`."""
        return _opened(self._plain)

    async def _dial(self, url: URL, make: Callable[[], Line]) -> Line:
        """A connection to one of the host's addresses, of which none may be a bad one. Raises OSError."""
        host, port = str(url.raw_host), int(url.port or 0)
        found = [host] if is_literal(host) else await self._find(host, port)
        if not found:
            raise OSError(f"{host} has no address")
        if found != [host]:
            self.policy.check_answers(host, port, found)
        failure: OSError = OSError(f"{host} has no address")
        for address in found:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await self._connect(address, port, make, host if url.scheme == "https" else "")
            except OSError as error:
                failure = error
        raise failure

    async def _connect(self, address: str, port: int, make: Callable[[], Line], tls_name: str) -> Line:
        """To exactly this address; `tls_name`: whose certificate has to be shown, empty without TLS."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = self._socket((family, socket.SOCK_STREAM, 0, "", (address, port)))
        try:
            await loop.sock_connect(made, (address, port))
            if tls_name and self._tls is None:
                self._tls = await asyncio.to_thread(ssl.create_default_context)  # reads files for some 20 ms
            _, line = await loop.create_connection(
                make, sock=made, ssl=self._tls if tls_name else None, server_hostname=tls_name or None
            )
        except BaseException:
            made.close()
            raise
        return line

    async def _strictly(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """No user in the address, which the connector is not shown any more, and no redirect."""
        try:
            self.policy.check_url(request.url)
        except Refused as error:
            raise aiohttp.ClientConnectorError(request.connection_key, error) from None
        response = await send(request)
        if response.status in REDIRECTS:
            response.close()
            raise RedirectRefused(f"{request.url.raw_host} answered with a redirect, which is not followed")
        return response

    def _socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        self.policy.check_address(address[0], address[1])
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


def _session(
    connector: aiohttp.BaseConnector, limits: aiohttp.ClientTimeout, *middlewares: aiohttp.ClientMiddlewareType
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=limits,
        trust_env=False,
        read_bufsize=256 * 1024,
        middlewares=middlewares,
    )


def _opened(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    if session is None:
        raise RuntimeError("the egress client is not open")
    return session
