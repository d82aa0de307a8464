"""The platforms' door, health and metrics, behind both servers; slow and broken requests by hand on a socket."""

import asyncio
import base64
import secrets
import time
from functools import partial
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.edges.conftest import Gateway, House, running
from tests.support.patience import PATIENCE

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


def signed(body: bytes, *, ident: str = "", at: float | None = None) -> dict[str, str]:
    from datetime import UTC, datetime

    ident = ident or f"msg_{secrets.token_hex(6)}"
    moment = datetime.fromtimestamp(at or time.time(), tz=UTC)
    signature = Webhook(SECRET).sign(ident, moment, body.decode("utf-8", "surrogateescape"))
    stamp = str(int(moment.timestamp()))
    return {"webhook-id": ident, "webhook-timestamp": stamp, "webhook-signature": signature}


def message(text: str, *, ident: str = "", conversation: str = "c1") -> bytes:
    data = {"conversation": conversation, "sender": "s1", "id": ident or secrets.token_hex(6), "text": text}
    return orjson.dumps({"type": "message", "data": data})


async def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
        return answer.status, orjson.loads(await answer.read() or b"null")


@pytest.fixture
async def callback() -> Any:
    """A tenant's own server, where answers are posted."""
    posted: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        posted.put_nowait({"body": await request.json(), "id": request.headers["webhook-id"]})
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    posted.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"  # type: ignore[attr-defined]
    yield posted
    await runner.cleanup()


async def test_in_once_and_out_once(gateway: Gateway, house: House, callback: Any) -> None:
    row = house.connect_row("webhook", secret=SECRET, callback_url=callback.url)
    url, body = gateway.url + row.webhook_path, message("hello [[echo]]", ident="m1")
    assert await post(url, body, signed(body)) == (200, {"outcome": "new"})
    assert await post(url, body, signed(body)) == (200, {"outcome": "duplicate"})
    async with asyncio.timeout(PATIENCE):
        answer = await callback.get()
    assert "hello" in answer["body"]["data"]["text"] and answer["body"]["data"]["in_reply_to"] == "m1"
    await asyncio.sleep(0.3)
    assert callback.empty()


async def test_an_answer_goes_out_once_in_the_response_or_later(
    uvicorn_gateway: Gateway, house: House, callback: Any
) -> None:
    inline: Any = {"secret": SECRET, "answer": "inline", "callback_url": callback.url}
    url = uvicorn_gateway.url + house.connect_row("webhook", inline_limit=10.0, **inline).webhook_path

    async def ask(n: int) -> Any:
        body = message(f"number {n}! [[echo]]", ident=f"q{n}", conversation=f"c{n}")
        return (await post(url, body, signed(body)))[1]

    answers = await asyncio.gather(*(ask(n) for n in range(4)))
    assert all(f"number {n}!" in answer["reply"] for n, answer in enumerate(answers)), answers
    repeated = await ask(2)
    assert repeated["outcome"] == "duplicate" and repeated["reply"] == answers[2]["reply"]
    await asyncio.sleep(0.3)
    assert callback.empty()
    slow = house.connect_row("webhook", inline_limit=0.6, **inline)
    body = message("slow [[normal chunks=15 delay=0.1]]", ident="slow")
    started = time.monotonic()
    status, answer = await post(uvicorn_gateway.url + slow.webhook_path, body, signed(body))
    assert (status, answer) == (200, {"outcome": "new"}) and time.monotonic() - started < 3
    async with asyncio.timeout(PATIENCE):
        assert (await callback.get())["body"]["data"]["in_reply_to"] == "slow"


async def _settled(house: House, number: int) -> list[tuple[str, int]]:
    """The deliveries of the tenant once nothing of them is under way."""
    from hub.models import Delivery

    def look() -> list[tuple[str, int]]:
        rows: list[tuple[str, int]] = list(Delivery.objects.order_by("id").values_list("status", "attempts"))
        return rows

    deadline = time.monotonic() + PATIENCE
    while True:
        found: list[tuple[str, int]] = await asyncio.to_thread(house.run, look)
        if len(found) >= number and all(status in ("sent", "unknown", "dead") for status, _ in found):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


def _inline(house: House, callback: Any, *, limit: float = 10.0) -> str:
    values: Any = {"secret": SECRET, "answer": "inline", "callback_url": callback.url, "inline_limit": limit}
    return str(house.connect_row("webhook", **values).webhook_path)


async def test_a_gateway_without_turns_answers_in_the_response(
    uvicorn_gateway: Gateway, model_url: str, folder: Any, house: House, callback: Any
) -> None:
    """The turn runs in another process, which must not deliver what the response carries."""
    path = _inline(house, callback)
    with running("uvicorn", folder, model_url, HUB_ROLE="gateway") as door:
        for n in range(3):
            body = message(f"number {n}! [[echo]]", ident=f"q{n}", conversation="c")
            status, answer = await post(door.url + path, body, signed(body))
            assert status == 200 and f"number {n}!" in answer["reply"], answer
        assert await _settled(house, 3) == [("sent", 1)] * 3
        short = _inline(house, callback, limit=0.6)
        body = message("slow [[normal chunks=12 delay=0.1]]", ident="slow")
        assert (await post(door.url + short, body, signed(body)))[1] == {"outcome": "new"}
        async with asyncio.timeout(PATIENCE):
            assert (await callback.get())["body"]["data"]["in_reply_to"] == "slow"
    assert callback.empty()


@pytest.mark.parametrize(
    ("point", "limit", "ends", "called"),
    [
        ("accept.after_commit", 1.5, ("sent", 1), 1),
        ("webhook.before_answer", 10.0, ("unknown", 2), 0),
        ("inline.before_settle", 10.0, ("unknown", 2), 0),
    ],
)
async def test_a_gateway_that_dies_with_an_answer_in_hand(
    uvicorn_gateway: Gateway,
    model_url: str,
    folder: Any,
    house: House,
    callback: Any,
    point: str,
    limit: float,
    ends: tuple[str, int],
    called: int,
) -> None:
    """Before it took the answer, that is delivered; after it, nobody knows, and the platform's repeat is answered."""
    path, body = _inline(house, callback, limit=limit), message("are you there? [[echo]]", ident="q")
    with running("uvicorn", folder, model_url, HUB_ROLE="gateway", HUB_CRASH_AT=f"{point}:1") as door:
        try:
            await post(door.url + path, body, signed(body))
        except aiohttp.ClientError:
            assert point != "inline.before_settle", "the response was out"
        assert await _settled(house, 1) == [ends]
    assert callback.qsize() == called
    repeated = (await post(uvicorn_gateway.url + path, body, signed(body)))[1]
    assert repeated["outcome"] == "duplicate"
    assert ("are you there?" in repeated.get("reply", "")) is not bool(called)


async def test_refusals(gateway: Gateway, house: House) -> None:
    row = house.connect_row("webhook", secret=SECRET)
    url, body = gateway.url + row.webhook_path, message("x")
    good = signed(body)
    cases: list[tuple[str, bytes, dict[str, str], int]] = [
        (url, body, {}, 401),
        (url, body + b" ", good, 401),
        (url, body, good | {"webhook-signature": "v1,AAAA"}, 401),
        (url, body, signed(body, at=time.time() - 3600), 401),
        (url, b"{", signed(b"{"), 400),
        (url, b'{"type":5}', signed(b'{"type":5}'), 400),
        (url, b"x" * (257 * 1024), good, 413),
        (url, body, good | {"Content-Encoding": "gzip"}, 415),
        (url, body, good | {f"x-{n}": "y" for n in range(110)}, 431),
        (f"{url}x", body, good, 404),
        (f"{gateway.url}/webhooks/telegram/{row.public_id}", body, good, 404),
        (f"{gateway.url}/webhooks/nothing", body, good, 404),
        (f"{gateway.url}/webhooks/web/{house.connect('web')}", body, good, 404),
        (f"{url}?{'q' * 9000}", body, good, 414),
    ]
    for place, data, headers, status in cases:
        got, answer = await post(place, data, headers)
        # Both servers refuse very many headers themselves before we see them.
        assert got == status or (status in (431, 414) and got in (400, 414, 431)), (place[-40:], got, answer)


def _set_status(connection_id: Any, status: str) -> None:
    from hub.models import Connection

    Connection.objects.filter(id=connection_id).update(status=status)


async def test_paused_and_disabled(uvicorn_gateway: Gateway, house: House) -> None:
    for status, expected in (("paused", (200, {"outcome": "ignored"})), ("disabled", 404)):
        row = house.connect_row("webhook", secret=SECRET)
        house.run(partial(_set_status, row.id, status))
        body = message("x")
        got = await post(uvicorn_gateway.url + row.webhook_path, body, signed(body))
        assert got == expected or got[0] == expected


async def test_a_bad_row_fails_alone(gateway: Gateway, house: House) -> None:
    row = house.connect_row("webhook", secret=SECRET)
    bodies = [message(f"fine {n}") for n in range(20)]
    bodies += [message("nul \x00 inside"), message("x").replace(b'"x"', b'"\\ud800"')]
    results = await asyncio.gather(*(post(gateway.url + row.webhook_path, body, signed(body)) for body in bodies))
    assert [answer for _, answer in results[:20]] == [{"outcome": "new"}] * 20
    assert all(status in (200, 400) for status, _ in results[20:])


async def raw(gateway: Gateway, head: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head.replace("\n", "\r\n").encode())
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)
    try:
        return await reader.readuntil(b"\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    finally:
        writer.close()


async def test_a_body_that_trickles_is_cut_off(uvicorn_gateway: Gateway, house: House) -> None:
    path = house.connect_row("webhook", secret=SECRET).webhook_path
    head = f"POST {path} HTTP/1.1\nHost: x\nContent-Length: 1000\n\n"
    async with asyncio.timeout(PATIENCE):
        started = time.monotonic()
        answer = await raw(uvicorn_gateway, head, b"x", b"y")
        assert b" 408 " in answer and 9 < time.monotonic() - started < 13


async def test_a_body_without_a_length_is_counted(uvicorn_gateway: Gateway, house: House) -> None:
    path = house.connect_row("webhook", secret=SECRET).webhook_path
    head = f"POST {path} HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert b" 413 " in await raw(uvicorn_gateway, head, *[chunk] * 5)


async def test_probes_and_metrics(gateway: Gateway) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{gateway.url}/health/live") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "live"})
        async with http.get(f"{gateway.url}/health/ready") as answer:
            found = await answer.json()
            assert answer.status == 200 and found["status"] == "ready" and found["checks"]["postgresql"]["ok"]
        async with http.get(f"{gateway.url}/metrics") as answer:
            text = await answer.text()
            assert answer.status == 200 and "hub_webhooks_total" in text and "hub_chat_doors" in text
        async with http.get(f"{gateway.url}/metrics", headers={"X-Forwarded-For": "9.9.9.9"}) as answer:
            assert answer.status == 404
        async with http.get(f"{gateway.url}/health/ready", headers={"X-Forwarded-For": "9.9.9.9"}) as answer:
            assert await answer.json() == {"status": "ready"}
        for path in ("/mcp", "/sse/nothing", "/health/x"):
            async with http.get(gateway.url + path) as answer:
                assert answer.status == 404 and answer.content_type == "application/json"
        async with http.get(f"{gateway.url}/admin/login/") as answer:
            assert answer.status == 200
