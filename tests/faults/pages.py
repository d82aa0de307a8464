"""Visitors on web chat while what serves them dies: what their pages showed is a ledger of its own."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.faults.ledgers import Report, check
from tests.faults.outcome import Dose, Result
from tests.faults.reading import read
from tests.faults.rig import Rig, wait_until

_GONE = (aiohttp.ClientError, ConnectionError, TimeoutError, OSError)


@dataclass(slots=True)
class Page:
    """One visitor over WebSocket or server-sent events: keeps what the protocol says, and comes back."""

    rig: Rig
    transport: str
    seed: int
    token: str = ""
    cursor: str = ""
    session: str = ""
    text: str = ""
    """The running answer as it stands on the screen."""
    messages: list[tuple[int, str]] = field(default_factory=list)
    grown: list[tuple[int, str]] = field(default_factory=list)
    """What stood on the screen when the stored answer of this seq came."""
    acked: list[str] = field(default_factory=list)
    returns: int = -1
    broken: int = 0
    """Streams that ended in the middle, not in order."""
    ended: bool = False
    """Set to say nothing more."""
    chance: random.Random = field(init=False)
    _reading: "asyncio.Task[None] | None" = None
    _socket: aiohttp.ClientWebSocketResponse | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    async def talk(self, texts: list[str]) -> None:
        """Say one thing after another, each when the last one was answered."""
        listening = asyncio.create_task(self._listen())
        try:
            for number, text in enumerate(texts):
                if self.ended:
                    return
                await self._say(f"p{self.seed}-{number}", text)
                await wait_until(lambda n=number: len(self.grown) > n, seconds=60, what=f"page {self.seed} is answered")  # type: ignore[misc]
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    def drop(self) -> None:
        """The network is gone for a moment."""
        if self._reading is not None:
            self._reading.cancel()

    async def _listen(self) -> None:
        while True:
            self.returns += 1
            self._reading = asyncio.create_task(self._read())
            await asyncio.gather(self._reading, return_exceptions=True)
            await asyncio.sleep(0.05 + self.chance.random() * 0.2)

    async def _read(self) -> None:
        frames = self._frames() if self.transport == "ws" else self._events()
        try:
            async with aclosing(frames):
                async for frame in frames:
                    self._apply(frame)
        except aiohttp.ClientPayloadError:
            self.broken += 1
        except _GONE:
            return

    def _url(self, kind: str) -> str:
        node = self.chance.choice(self.rig.gateways() or self.rig.nodes)
        return f"http://127.0.0.1:{node.port}/{kind}/chat/{self.rig.planted.connections['chat']['public_id']}"

    async def _frames(self) -> AsyncGenerator[dict[str, Any], None]:
        hello = {"type": "hello", "token": self.token, "cursor": self.cursor, "session": self.session}
        async with self.rig.http.ws_connect(self._url("ws")) as socket:
            await socket.send_json(hello)
            self._socket = socket
            try:
                async for message in socket:
                    yield json.loads(message.data)
            finally:
                self._socket = None

    async def _events(self) -> AsyncGenerator[dict[str, Any], None]:
        query = {"cursor": self.cursor, "session": self.session} if self.cursor else {}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with self.rig.http.get(self._url("sse"), params=query, headers=self._bearer(), timeout=limits) as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _apply(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        self.cursor = frame.get("cursor", self.cursor)
        self.token = frame.get("token", self.token)
        if kind in ("welcome", "session"):
            self.session = frame["session"] or ""
        elif kind in ("begin", "restart", "reset"):
            self.text = ""
        elif kind in ("delta", "gap"):
            self.text = (self.text if kind == "delta" else "") + frame["text"]
        elif kind == "ack":
            self.acked.append(frame["client_id"])
        elif kind == "message":
            self._stored(frame["message"])

    def _stored(self, message: dict[str, Any]) -> None:
        self.messages.append((message["seq"], message["text"]))
        if message["role"] == "assistant":
            self.grown.append((message["seq"], self.text))
            self.text = ""

    async def _say(self, client_id: str, text: str) -> None:
        """Repeat it until it is acknowledged; the id makes that harmless."""
        said = {"client_id": client_id, "text": text}
        for _ in range(60):
            try:
                if self.transport == "ws" and self._socket is not None:
                    await self._socket.send_json({"type": "say", **said})
                elif self.transport == "sse" and self.token:
                    await self._post(said)
            except _GONE:
                pass  # it is said again
            for _ in range(20):
                if client_id in self.acked:
                    return
                await asyncio.sleep(0.05)
        raise TimeoutError(f"{client_id} was never acknowledged")

    async def _post(self, said: dict[str, str]) -> None:
        url = f"{self._url('sse')}/messages"
        limits = aiohttp.ClientTimeout(total=5)
        async with self.rig.http.post(url, json=said, headers=self._bearer(), timeout=limits) as answer:
            if answer.status == 202:
                self.acked.append(said["client_id"])


async def visitors(rig: Rig, dose: Dose) -> Result:
    """Pages lose their network, their gateway and their runner in turn; each word is shown once and in its place."""
    result = Result(name="web pages lose network, gateway and runner")
    pages = [Page(rig, ("ws", "sse")[number % 2], number) for number in range(dose.conversations)]
    await rig.have(gateways=2, runners=2)
    each = max(1, dose.messages // len(pages))
    text = "tell me [[normal chunks=40 delay=0.04]]"
    talking = [asyncio.create_task(page.talk([f"{n} {text}" for n in range(each)])) for page in pages]
    for number in range(dose.faults):
        await asyncio.sleep(0.9)
        if number % 3 == 0:
            for page in pages:
                page.drop()
        else:
            await asyncio.to_thread((rig.gateways() if number % 3 == 1 else rig.runners())[-1].kill)
            await rig.have(gateways=2, runners=2)
        result.faults += 1
    await asyncio.gather(*talking)
    result.sent = sum(len(set(page.acked)) for page in pages)
    await rig.quiet()
    result.report = await check_pages(rig, pages)
    result.figures["returns"] = sum(page.returns for page in pages)
    result.need(all(page.returns for page in pages), "a page never had to come back")
    return result.done()


async def check_pages(rig: Rig, pages: Sequence[Page]) -> Report:
    """Compare what the pages showed with what is stored."""
    found = await read(rig, names=("chat",))
    places = {place.id: place.conversation for place in found.places}
    found.pushes, found.model_calls = False, None
    found.acked = [(places[page.session], key) for page in pages for key in dict.fromkeys(page.acked)]
    found.tried = {key for _, key in found.acked}
    found.web = {f"{page.session}/{page.transport}{page.seed}": page.messages for page in pages}
    found.grown = {f"{page.session}/{page.transport}{page.seed}": page.grown for page in pages}
    return check(found)
