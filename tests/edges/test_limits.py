"""What a door does with readers that do not read, clients that say nothing, keys it does not know and no Redis."""

import asyncio
import hashlib
import hmac
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from channels_adapters import registry
from channels_adapters.base import ChannelAdapter, Credentials
from channels_adapters.errors import KeyUnknown, SignatureInvalid
from channels_adapters.types import (
    Address,
    Capabilities,
    InboundEvent,
    InboundMessage,
    Part,
    Reply,
    SentMessage,
    WebhookRequest,
)
from hub.edges.doors import DOORS
from tests.edges.near import served
from tests.edges.test_chat import Socket, opened
from tests.edges.test_rich_chat import said
from tests.support.patience import PATIENCE
from tests.support.runtime import hub_runtime, hub_world  # noqa: F401 (fixtures)
from tests.support.world import World


async def test_a_reader_that_does_not_read_is_let_go_with_its_cursor(
    hub_runtime: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hub.edges.chat.SEND_SECONDS", 0.5)
    long = "x" * 30_000
    async with served(hub_runtime.runtime, monkeypatch, buffer=8192) as gateway:
        public_id = hub_runtime.public_ids["web"]
        async with opened(gateway, public_id) as chat:
            for number in range(4):
                await said(chat, str(number), f"{long} [[text text=ok]]")
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", gateway.port))
            slow.setblocking(False)
            address = f"{gateway.ws}/ws/chat/{public_id}"
            async with connect(address, sock=slow, max_queue=1) as raw:
                page = Socket(raw)
                await page.tell("hello", token=chat.token)
                async with asyncio.timeout(PATIENCE):
                    while not any(door._closed for door in DOORS):  # type: ignore[attr-defined]
                        await asyncio.sleep(0.05)
                with pytest.raises(ConnectionClosed) as caught:
                    while True:
                        await page.hear()
                assert caught.value.rcvd is not None
                assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1013, page.cursor)
            seen = [message["seq"] for message in page.messages]
            assert seen == list(range(1, len(seen) + 1)) and len(seen) < 8
            async with opened(gateway, public_id, token=chat.token, cursor=page.cursor) as again:
                await again.until("message", seq=8)
                assert [message["seq"] for message in again.messages] == list(range(len(seen) + 1, 9))


async def test_silence_is_asked_after_and_ended(
    hub_runtime: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(hub_runtime.runtime, monkeypatch) as gateway:
        public_id = hub_runtime.public_ids["web"]
        address = f"{gateway.ws}/ws/chat/{public_id}"
        async with opened(gateway, public_id) as chat, connect(address) as mute, aiohttp.ClientSession() as http:
            await chat.until("welcome")
            now = time.monotonic()
            for door in list(DOORS):
                door.look(now + 24)
            (first, *_), (second, *_) = await asyncio.gather(_closed(mute), _nothing(chat))
            assert (first, second) == (4408, None)  # hello is due within ten seconds
            for door in list(DOORS):
                door.look(now + 27)
            assert (await chat.hear())["type"] == "ping"
            await chat.tell("pong")
            async with http.get(f"{gateway.url}/sse/chat/{public_id}") as sse:
                assert (await sse.content.readline()).startswith(b"id: 0.0.0")
                for door in list(DOORS):
                    door.look(time.monotonic() + 27)
                async with asyncio.timeout(PATIENCE):
                    while await sse.content.readline() != b": ping\n":
                        pass
            for door in list(DOORS):
                door.look(time.monotonic() + 82)
            code, reason = await _closed(chat.raw)
            assert (code, reason) == (4408, chat.cursor)


async def _closed(raw: Any) -> tuple[int, str]:
    async with asyncio.timeout(PATIENCE):
        try:
            while True:
                await raw.recv()
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return closed.rcvd.code, closed.rcvd.reason


async def _nothing(chat: Socket) -> tuple[None, str]:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await chat.raw.recv()
    return None, ""


async def test_a_connection_holds_only_so_many_doors(
    hub_runtime: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hub.edges.doors.MAX_OF_CONNECTION", 2)
    async with served(hub_runtime.runtime, monkeypatch) as gateway, aiohttp.ClientSession() as http:
        public_id = hub_runtime.public_ids["web"]
        async with opened(gateway, public_id) as one, opened(gateway, public_id) as two:
            await one.until("welcome")
            await two.until("welcome")
            async with http.get(f"{gateway.url}/sse/chat/{public_id}") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        async with asyncio.timeout(PATIENCE):
            while len(DOORS):
                await asyncio.sleep(0.02)
        async with opened(gateway, public_id) as three:
            await three.until("welcome")


async def test_without_redis_the_doors_stay_open(
    hub_world: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"
    runtime = await hub_world.another(redis_url=dead)
    async with served(runtime, monkeypatch) as gateway, aiohttp.ClientSession() as http:
        async with http.get(f"{gateway.url}/health/ready") as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "degraded")
        public_id = hub_world.public_ids["web"]
        async with opened(gateway, public_id) as chat, opened(gateway, public_id) as other:
            await chat.until("welcome")
            first, answer_one = await said(chat, "a", "one [[echo]]")
            assert "one" in answer_one["text"]
            async with opened(gateway, public_id, token=chat.token) as second:
                await second.until("message", role="assistant")
                await chat.tell("read", seq=2)
                assert (await second.until("read"))["seq"] == 2
                _, again = await said(chat, "b", "two [[echo]]", edits=first["id"])
                assert again["text"] == "two [[echo]]"
                assert (await second.until("message", seq=again["seq"]))["message"]["text"] == again["text"]
            await other.until("welcome")
        fake = hub_world.fakes["webhook"]
        request = fake.request(fake.said("hello", number=1), now=time.time(), headers=None)
        address = f"{gateway.url}/webhooks/webhook/{hub_world.public_ids['webhook']}"
        async with http.post(address, data=request.body, headers=dict(request.headers)) as taken:
            assert taken.status == 200
        await hub_world.until(lambda: hub_world.value("SELECT count(*) FROM message WHERE role = 'assistant'") == 3)


# ---- a platform that signs with keys of its own, published at an address -----------------------------------------


class KeyedCredentials(Credentials):
    keys_url: str
    token: SecretStr = SecretStr("")


class KeyedAdapter(ChannelAdapter[KeyedCredentials]):
    """Signed with the key that the request names; keys are read from a document, as with JWKS."""

    slug = "keyed"
    name = "Keyed"
    docs_url = "https://example.org"
    credentials_type: ClassVar[type[Credentials]] = KeyedCredentials
    capabilities = Capabilities(text_limit=4000)

    def verify(self, request: WebhookRequest) -> None:
        document = self.keys.get(self.credentials.keys_url) or {}
        secret = document.get(request.headers.get("x-key-id", ""))
        if secret is None:
            raise KeyUnknown("signed by a key that is not published")
        mark = hmac.new(str(secret).encode(), request.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mark, request.headers.get("x-signature", "")):
            raise SignatureInvalid("wrong signature")

    def parse(self, request: WebhookRequest) -> Sequence[InboundEvent]:
        text = request.body.decode()
        return [InboundMessage(external_id=text, sender_id="s", address=Address(conversation="c"), text=text)]

    def render(self, reply: Reply) -> Sequence[Part]:
        return []

    async def send(self, address: Address, part: Part, *, key: str) -> SentMessage:
        raise NotImplementedError


class KeyServer:
    """The platform's key document."""

    def __init__(self) -> None:
        self.keys: Mapping[str, str] = {"k1": "first"}
        self.asked, self.status, self.url = 0, 200, ""

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(dict(self.keys), status=self.status)


@pytest.fixture
async def key_server() -> AsyncIterator[KeyServer]:
    server, app = KeyServer(), web.Application()
    app.router.add_get("/keys", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield server
    await runner.cleanup()


def _connect(world: World, url: str) -> str:
    from django.db import connections

    from hub.env import env
    from hub.models import Connection
    from hub.pipeline.connections import seal_credentials
    from tenants.context import tenant_scope
    from tenants.crypto import MasterKeys, Vault

    row = Connection(tenant_id=world.tenant_id, channel="keyed", name="keyed", agent_id=world.agent_id)
    with tenant_scope(world.tenant_id):
        seal_credentials(Vault(MasterKeys(*env().master_keys())), row, {"keys_url": url})
        row.save(force_insert=True)
    connections.close_all()
    return str(row.public_id)


async def test_an_unknown_key_is_looked_for_once_at_its_source(
    hub_runtime: World,  # noqa: F811
    key_server: KeyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {**registry.adapters(), "keyed": KeyedAdapter}
    monkeypatch.setattr(registry, "adapters", lambda: known)
    ahead = 0.0
    monkeypatch.setattr(hub_runtime.runtime.keys, "_clock", lambda: time.monotonic() + ahead)
    public_id = await asyncio.to_thread(_connect, hub_runtime, key_server.url)
    async with served(hub_runtime.runtime, monkeypatch) as gateway, aiohttp.ClientSession() as http:

        async def post(text: str, key_id: str, secret: str) -> int:
            mark = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
            headers = {"x-key-id": key_id, "x-signature": mark}
            async with http.post(f"{gateway.url}/webhooks/keyed/{public_id}", data=text, headers=headers) as answer:
                return answer.status

        assert await post("one", "k1", "first") == 200  # nothing was known yet: fetched, verified again
        assert await post("two", "k1", "first") == 200
        assert await post("forged", "k1", "guess") == 401
        assert key_server.asked == 1
        assert [await post("three", "k2", "second") for _ in range(3)] == [401] * 3
        assert key_server.asked == 1  # forgeries do not make us ask all the time
        key_server.keys, ahead = {"k2": "second"}, 31.0
        assert await post("four", "k2", "second") == 200
        assert await post("five", "k1", "first") == 401  # withdrawn
        assert key_server.asked == 2
        key_server.status, ahead = 500, 62.0
        assert await post("six", "k3", "third") == 401
        assert await post("seven", "k2", "second") == 200  # what is known stays good
        ahead = 62.0 + 3601.0
        assert await post("eight", "k2", "second") == 401
        key_server.status, ahead = 200, ahead + 31.0
        assert await post("eight", "k2", "second") == 200
    await hub_runtime.until(lambda: hub_runtime.value("SELECT count(*) FROM message WHERE role = 'user'") == 5)


async def test_when_the_source_of_keys_is_away_the_platform_comes_again(
    hub_runtime: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {**registry.adapters(), "keyed": KeyedAdapter}
    monkeypatch.setattr(registry, "adapters", lambda: known)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/keys"
    public_id = await asyncio.to_thread(_connect, hub_runtime, url)
    async with served(hub_runtime.runtime, monkeypatch) as gateway, aiohttp.ClientSession() as http:
        address = f"{gateway.url}/webhooks/keyed/{public_id}"
        async with http.post(address, data="x", headers={"x-key-id": "k1"}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
