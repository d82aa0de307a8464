"""A platform that runs on a socket: strict about what it is asked, told to fail on purpose, remembers what people saw.

async with FakeTelegram() as fake:
    fake.fail(status=429, retry_after=2)        # the next call only
    fake.fail(hang="after", method="sendMessage", times=3)
    await fake.refuse()                         # connections are refused until `await fake.listen()`
    fake.shown("7")                             # texts that a person in chat 7 now sees
    fake.calls                                  # every call that was understood, in order
    await fake.deliver(hub_url, fake.said("hi", number=1))  # a person's message as a signed webhook
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

import aiohttp
from aiohttp import web

from channels_adapters.types import WebhookRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call as the platform understood it."""

    method: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    effect: bool = True


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong, for which method (empty: any) and how often still."""

    method: str = ""
    times: int = 1
    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: Literal["", "before", "after"] = ""
    drop: Literal["", "before", "after"] = ""
    """Close the connection without an answer, before or after the effect."""
    garbage: bool = False
    """Do the work and answer 200 with something unreadable."""


class FakePlatform(ABC):
    """Start it with `async with`; it listens on an ephemeral port of loopback."""

    slug: ClassVar[str]
    auth: ClassVar[Mapping[str, Any]] = {}
    """For forgeries: header names `signature`, `timestamp`, `id`; the `prefix`; `window` seconds; `covers_body`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.latency = 0.0
        """Seconds before every answer."""
        self._release = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._port = 0
        self.host = "127.0.0.1"
        """Where it listens; loopback unless the hub runs somewhere that cannot reach that."""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._entry)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True, access_log=None)
        await self._runner.setup()
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release.set()
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self._port}"

    async def listen(self) -> None:
        """Accept connections, again on the same port after `refuse`."""
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, self.host, self._port, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    async def refuse(self) -> None:
        """Refuse new connections (existing idle ones are closed)."""
        assert self._runner is not None and self._runner.server is not None and self._site is not None
        await self._site.stop()
        for connection in list(self._runner.server.connections):
            connection.force_close()

    def fail(self, *, retry_after: float | None = None, **fault: Any) -> None:
        """Queue a fault; see `Fault` for the words. Faults of the same method are used in order."""
        made = Fault(**fault)
        if retry_after is not None:
            made.headers = {**made.headers, "Retry-After": str(retry_after)}
            made.body = made.body or self.limited(retry_after)
        self.faults.append(made)

    async def deliver(self, url: str, body: bytes, *, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Post a webhook, signed now, to a hub; its status and answer. ClientError when there is none."""
        signed = self.sign(body, now=time.time(), headers=headers)
        limit = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(url, data=body, headers=signed) as done,
        ):
            return done.status, await done.read()

    def release(self) -> None:
        """Let every hanging call go on."""
        self._release.set()
        self._release = asyncio.Event()

    def limited(self, retry_after: float) -> bytes:
        """The body of a 429 on this platform."""
        return b""

    @abstractmethod
    def credentials(self) -> dict[str, Any]:
        """Credentials with which an adapter works against this fake."""

    @abstractmethod
    def sign(self, body: bytes, *, now: float, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """Headers (lower case) that make `body` an authentic webhook at `now` (unix seconds)."""

    @abstractmethod
    def shown(self, conversation: str) -> list[str]:
        """The texts that people in a conversation see now, oldest first."""

    @abstractmethod
    def said(self, text: str, *, number: int, conversation: str = "", sender: str = "") -> bytes:
        """The webhook body of a person's message; `number` makes its id, so that equal numbers are redeliveries."""

    def typed(self, text: str) -> str:
        """How the platform writes in its payload what a person typed."""
        return text

    @abstractmethod
    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Do what is asked, or answer with the platform's own error."""

    def method_of(self, request: web.Request) -> str:
        """The platform's name of what is called."""
        return request.path.rsplit("/", 1)[-1]

    def request(self, body: bytes, *, now: float, headers: Mapping[str, str] | None = None) -> WebhookRequest:
        """A signed webhook, ready for an adapter."""
        return WebhookRequest(
            method="POST",
            path=f"/webhooks/{self.slug}/test",
            query="",
            headers=self.sign(body, now=now, headers=headers),
            body=body,
            url=f"https://hub.test/webhooks/{self.slug}/test",
            received_at=datetime.fromtimestamp(now, tz=UTC),
        )

    async def _entry(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.latency)
        fault = self._next_fault(self.method_of(request))
        if fault is None:
            return await self.answer(request)
        if fault.hang == "before" or fault.drop == "before" or fault.status:
            await request.read()
        if fault.hang == "before":
            await self._release.wait()
        if fault.status:
            return web.Response(status=fault.status, body=fault.body, headers=dict(fault.headers))
        if fault.drop != "before":
            done = await self.answer(request)
            if fault.hang == "after":
                await self._release.wait()
            if not fault.drop:
                return web.Response(body=b"<html>unreadable") if fault.garbage else done
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _next_fault(self, method: str) -> Fault | None:
        fault = next((item for item in self.faults if item.method in ("", method)), None)
        if fault is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
        return fault
