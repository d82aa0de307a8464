"""Web chat over both transports, behind both servers, with plain clients."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.edges.conftest import Gateway, House
from tests.support.patience import PATIENCE


class Socket:
    """A client that keeps what a page would keep."""

    def __init__(self, raw: ClientConnection) -> None:
        self.raw = raw
        self.token = self.cursor = ""
        self.session: str | None = None
        self.text = ""
        self.messages: list[dict[str, Any]] = []

    async def tell(self, kind: str, **fields: Any) -> None:
        await self.raw.send(orjson.dumps({"type": kind, **fields}).decode())

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            frame: dict[str, Any] = orjson.loads(await self.raw.recv())
        self.cursor = frame.get("cursor", self.cursor)
        self.token = frame.get("token", self.token)
        if frame["type"] in ("welcome", "session"):
            self.session = frame["session"]
        apply(self, frame)
        return frame

    async def until(self, kind: str, **values: Any) -> dict[str, Any]:
        while True:
            frame = await self.hear()
            inner = frame.get("message", frame) if kind == "message" else frame
            if frame["type"] == kind and all(inner.get(name) == value for name, value in values.items()):
                return frame


def apply(page: Any, frame: dict[str, Any]) -> None:
    kind = frame["type"]
    if kind in ("begin", "restart", "reset"):
        page.text = ""
    elif kind == "delta":
        page.text += frame["text"]
    elif kind == "gap":
        page.text = frame["text"]
    elif kind == "message":
        page.messages.append(frame["message"])


@asynccontextmanager
async def opened(
    gateway: Gateway,
    public_id: str,
    *,
    token: str = "",
    cursor: str = "",
    session: str = "",
    identity: str = "",
    **options: Any,
) -> AsyncIterator[Socket]:
    async with connect(f"{gateway.ws}/ws/chat/{public_id}", **options) as raw:
        socket = Socket(raw)
        await socket.tell("hello", token=token, cursor=cursor, session=session, identity=identity)
        yield socket


async def test_a_conversation(gateway: Gateway, house: House) -> None:
    async with opened(gateway, house.connect("web")) as chat:
        welcome = await chat.hear()
        assert welcome["type"] == "welcome" and welcome["session"] is None and welcome["cursor"] == "0.0.0"
        await chat.tell("say", client_id="a", text="hello there [[echo]]")
        ack = await chat.until("ack")
        assert (ack["client_id"], ack["seq"], ack["duplicate"], ack["status"]) == ("a", 1, False, "accepted")
        answer = (await chat.until("message", role="assistant"))["message"]
        assert "hello there" in answer["text"] and chat.text == answer["text"]
        assert chat.messages[0]["role"] == "user" and chat.messages[0]["client_id"] == "a"
        await chat.tell("say", client_id="a", text="hello there [[echo]]")
        assert (await chat.until("ack"))["duplicate"] is True
        await chat.tell("ping")
        assert (await chat.until("pong"))["type"] == "pong"
        assert [message["seq"] for message in chat.messages] == [1, 2]


async def test_nothing_is_lost_or_doubled_by_a_drop(gateway: Gateway, house: House) -> None:
    public_id = house.connect("web")
    async with opened(gateway, public_id) as first:
        await first.tell("say", client_id="a", text="long [[normal chunks=30 delay=0.03]]")
        for _ in range(3):
            await first.until("delta")
        token, cursor, seen = first.token, first.cursor, first.text
        first.raw.transport.abort()
    async with opened(gateway, public_id, token=token, cursor=cursor) as again:
        again.text = seen
        answer = (await again.until("message", role="assistant"))["message"]
        assert again.text == answer["text"]
        assert len(answer["text"].split()) >= 25
        assert [message["role"] for message in again.messages] == ["assistant"]
    async with opened(gateway, public_id, token=token, cursor=again.cursor) as later:
        await later.until("welcome")
        await later.tell("say", client_id="b", text="x")
        frame = await later.until("message")
        assert frame["message"]["seq"] == answer["seq"] + 1


async def test_stop(gateway: Gateway, house: House) -> None:
    async with opened(gateway, house.connect("web")) as chat:
        await chat.tell("say", client_id="a", text="long [[normal chunks=400 delay=0.03]]")
        await chat.until("delta")
        await chat.tell("stop")
        answer = (await chat.until("message", role="assistant"))["message"]
        assert answer["finish"] == "stopped" and len(answer["text"].split()) < 300


async def test_a_newcomer_reads_the_history_and_a_second_page_hears_the_first(gateway: Gateway, house: House) -> None:
    public_id = house.connect("web")
    async with opened(gateway, public_id) as first:
        await first.tell("say", client_id="a", text="one [[echo]]")
        await first.until("message", role="assistant")
        async with opened(gateway, public_id, token=first.token) as second:
            await second.until("message", role="assistant")
            assert [message["seq"] for message in second.messages] == [1, 2]
            await first.tell("say", client_id="b", text="two [[echo]]")
            answer = await second.until("message", role="assistant")
            assert "two" in answer["message"]["text"]


async def test_pages_opened_before_the_first_message_hear_it(gateway: Gateway, house: House) -> None:
    public_id = house.connect("web")
    async with opened(gateway, public_id) as first:
        await first.until("welcome")
        async with opened(gateway, public_id, token=first.token) as second:
            assert (await second.until("welcome"))["session"] is None
            await second.tell("say", client_id="a", text="one [[echo]]")
            for page in (first, second):
                assert (await page.until("session"))["cursor"] == "0.0.0"
                answer = (await page.until("message", role="assistant"))["message"]
                assert "one" in answer["text"]
                assert [message["seq"] for message in page.messages] == [1, 2]
            assert first.session == second.session
            await first.tell("say", client_id="b", text="two [[echo]]")
            answer = (await second.until("message", role="assistant"))["message"]
            assert "two" in answer["text"]


async def test_a_page_at_another_gateway_hears_the_first_message(
    uvicorn_gateway: Gateway, daphne_gateway: Gateway, house: House
) -> None:
    public_id = house.connect("web")
    async with opened(uvicorn_gateway, public_id) as first:
        await first.until("welcome")
        async with opened(daphne_gateway, public_id, token=first.token) as second:
            assert (await second.until("welcome"))["session"] is None
            await first.tell("say", client_id="a", text="one [[echo]]")
            await first.until("session")
            answer = (await second.until("message", role="assistant"))["message"]
            assert "one" in answer["text"] and second.session == first.session


async def test_a_visitor_who_repeats_anothers_client_id_is_heard_and_hears_nothing_of_theirs(
    gateway: Gateway, house: House
) -> None:
    public_id = house.connect("web")
    async with opened(gateway, public_id) as first, opened(gateway, public_id) as second:
        await first.tell("say", client_id="a", text="mine [[echo]]")
        await first.until("message", role="assistant")
        await second.tell("say", client_id="a", text="other [[echo]]")
        assert (await second.until("ack"))["duplicate"] is False
        answer = (await second.until("message", role="assistant"))["message"]
        assert "other" in answer["text"] and second.session != first.session
        assert not any("mine" in message["text"] for message in second.messages)


BAD_FRAMES = [
    ("{", "malformed"),
    ("[]", "malformed"),
    ('{"type":"nonsense"}', "unknown_type"),
    ('{"type":"say","text":"x"}', "malformed"),
    ('{"type":"say","client_id":"x","text":" "}', "empty"),
    ('{"type":"say","client_id":"x","text":5}', "malformed"),
    ('{"type":"say","client_id":"x","text":"' + "y" * 40_000 + '"}', "too_long"),
    ('{"type":"say","client_id":"x","text":"y","attachments":[{"url":"file:///etc/passwd"}]}', "malformed"),
    ('{"type":"hello"}', "hello_twice"),
]


async def test_frames_that_make_no_sense_are_told_and_counted(gateway: Gateway, house: House) -> None:
    async with opened(gateway, house.connect("web")) as chat:
        await chat.until("welcome")
        for frame, code in BAD_FRAMES:
            await chat.raw.send(frame)
            assert (await chat.until("error"))["code"] == code
        with pytest.raises(ConnectionClosed) as caught:
            for _ in range(5):
                await chat.raw.send("{")
                await chat.hear()
        assert caught.value.rcvd is not None and caught.value.rcvd.code in (1008, 4008)


async def test_tokens_are_for_one_connection_and_cannot_be_made(gateway: Gateway, house: House) -> None:
    public_id, other = house.connect("web"), house.connect("web")
    async with opened(gateway, public_id) as chat:
        await chat.until("welcome")
        token = chat.token
    for place, given in ((other, token), (public_id, token[:-2] + "AA"), (public_id, "x")):
        async with opened(gateway, place, token=given) as chat:
            assert (await chat.until("error"))["code"] == "bad_token"
            with pytest.raises(ConnectionClosed) as caught:
                await chat.hear()
            assert caught.value.rcvd is not None and caught.value.rcvd.code == 4401
    async with connect(f"{gateway.ws}/ws/chat/{public_id}") as raw:
        await raw.send('{"type":"say","client_id":"x","text":"y"}')
        assert orjson.loads(await raw.recv())["code"] == "hello_first"


async def test_origins(gateway: Gateway, house: House) -> None:
    closed, listed = house.connect("web"), house.connect("web", origins=("https://shop.example",))
    every = house.connect("web", allowed_origins="*")
    own = gateway.url
    fine = [(closed, own), (listed, "https://shop.example"), (listed, own), (every, "https://evil.example")]
    refused = [
        (closed, "https://evil.example"),
        (closed, "null"),
        (closed, f"https://127.0.0.1:{gateway.port + 1}"),
        (listed, "https://shop.example.evil"),
        (listed, "http://shop.example"),
    ]
    for public_id, origin in fine:
        async with opened(gateway, public_id, origin=origin) as chat:
            await chat.until("welcome")
    for public_id, origin in refused:
        with pytest.raises(InvalidStatus) as caught:
            async with opened(gateway, public_id, origin=origin):
                pass
        assert caught.value.response.status_code == 403
    with pytest.raises(InvalidStatus):
        async with opened(gateway, "nobody"):
            pass
    evil = {"Host": "evil.example:80", "Origin": "http://evil.example:80"}
    async with aiohttp.ClientSession() as http:
        answer = await http.get(f"{gateway.url}/sse/chat/{closed}", headers=evil)
        assert answer.status == 403


async def test_a_visitor_cannot_flood(uvicorn_gateway: Gateway, house: House) -> None:
    async with opened(uvicorn_gateway, house.connect("web")) as chat:
        for n in range(14):
            await chat.tell("say", client_id=str(n), text="x")
        error = await chat.until("error")
        assert error["code"] == "rate_limited" and error["retry_after"] >= 1


# ---- server-sent events ----


class Stream:
    """A page that reads server-sent events by fetch."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Gateway, public_id: str) -> None:
        self.http, self.url = http, f"{gateway.url}/sse/chat/{public_id}"
        self.token = self.cursor = self.text = ""
        self.messages: list[dict[str, Any]] = []

    @property
    def headers(self) -> dict[str, str]:
        found = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return found | ({"Last-Event-ID": self.cursor} if self.cursor else {})

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        async with self.http.get(self.url, headers=self.headers) as answer:
            assert answer.status == 200 and answer.content_type == "text/event-stream"
            ident = ""
            async for raw in answer.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("id: "):
                    ident = line[4:]
                elif line.startswith("data: "):
                    frame = orjson.loads(line[6:])
                    self.cursor, self.token = ident or self.cursor, frame.get("token", self.token)
                    apply(self, frame)
                    yield frame

    async def say(self, text: str, client_id: str) -> dict[str, Any]:
        body = {"client_id": client_id, "text": text}
        async with self.http.post(f"{self.url}/messages", json=body, headers=self.headers) as answer:
            found: dict[str, Any] = await answer.json()
            assert answer.status == 202, found
            return found


async def test_a_conversation_over_events(gateway: Gateway, house: House) -> None:
    async with aiohttp.ClientSession() as http:
        page = Stream(http, gateway, house.connect("web"))
        seen = []
        async with asyncio.timeout(PATIENCE):
            async for frame in page.events():
                seen.append(frame["type"])
                if frame["type"] == "welcome":
                    ack = await page.say("hello events [[normal chunks=10 delay=0.02]]", "a")
                    assert ack["seq"] == 1 and ack["status"] == "accepted"
                if frame["type"] == "message" and frame["message"]["role"] == "assistant":
                    break
        assert seen[:2] == ["welcome", "session"] and "delta" in seen
        assert page.text == page.messages[-1]["text"]
        assert (await page.say("hello events", "a"))["duplicate"] is True


async def test_events_resume(gateway: Gateway, house: House) -> None:
    async with aiohttp.ClientSession() as http:
        page = Stream(http, gateway, house.connect("web"))
        page.token = (await page.say("long [[normal chunks=30 delay=0.03]]", "a"))["token"]
        deltas = 0
        async with asyncio.timeout(PATIENCE):
            async for frame in page.events():
                deltas += frame["type"] == "delta"
                if deltas == 3:
                    break
            async for frame in page.events():
                if frame["type"] == "message" and frame["message"]["role"] == "assistant":
                    break
        assert page.text == page.messages[-1]["text"] and len(page.text.split()) >= 25
        assert [message["role"] for message in page.messages] == ["user", "assistant"]


async def test_events_across_origins_and_refusals(gateway: Gateway, house: House) -> None:
    public_id = house.connect("web", origins=("https://shop.example",))
    url = f"{gateway.url}/sse/chat/{public_id}/messages"
    shop = {"Origin": "https://shop.example"}
    async with aiohttp.ClientSession() as http:
        async with http.options(url, headers=shop) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
            assert "Access-Control-Allow-Credentials" not in answer.headers
        async with http.options(url.removesuffix("/messages"), headers=shop) as answer:
            assert answer.status == 204 and "authorization" in answer.headers["Access-Control-Allow-Headers"]
        async with http.delete(url.removesuffix("/messages"), headers=shop) as answer:
            assert answer.status == 405
        async with http.post(url, json={"client_id": "a", "text": "x"}, headers=shop) as answer:
            assert answer.status == 202
        cases: list[tuple[dict[str, Any], int, str]] = [
            ({"json": {"text": "x"}}, 400, "malformed"),
            ({"data": b"{"}, 400, "malformed"),
            ({"data": b"x" * 70_000}, 413, "body_too_large"),
            ({"json": {}, "headers": {"Authorization": "Bearer x"}}, 401, "bad_token"),
            ({"json": {}, "headers": {"Origin": "https://evil.example"}}, 403, "origin_refused"),
            ({"data": b"x", "headers": {"Content-Encoding": "gzip"}}, 415, "encoding_unsupported"),
        ]
        for options, status, code in cases:
            async with http.post(url, **options) as answer:
                assert (answer.status, (await answer.json())["code"]) == (status, code)
        async with http.get(f"{gateway.url}/sse/chat/{secrets.token_hex(8)}") as answer:
            assert answer.status == 404
