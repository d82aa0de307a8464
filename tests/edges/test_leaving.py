"""Two gateways behind a small proxy; one is told to go while answers stream. Nothing breaks, chats move and resume."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.edges.conftest import Gateway, House, running
from tests.edges.test_chat import Stream, opened
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.slow
CHATS = 6
LONG = "long [[normal chunks=50 delay=0.06]]"


class Proxy:
    """Passes bytes to the first gateway that takes a connection; new ones avoid those that are gone."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in list(self.ports):
            try:
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                continue
        else:
            writer.close()
            return
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxied(*gateways: Gateway) -> AsyncIterator[Gateway]:
    proxy = Proxy([gateway.port for gateway in gateways])
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield Gateway("proxy", port, gateways[0].process, gateways[0].log)
    server.close()


async def chat_through(front: Gateway, public_id: str, ready: asyncio.Semaphore) -> tuple[str, str, int]:
    """A page that comes back with its cursor; gives what it showed, what is stored, and how often it moved."""
    token = cursor = text = ""
    moves = 0
    spoken = False
    while True:
        try:
            async with opened(front, public_id, token=token, cursor=cursor) as chat:
                chat.text = text
                while True:
                    frame = await chat.hear()
                    token, cursor, text = chat.token, chat.cursor, chat.text
                    if frame["type"] == "welcome" and not spoken:
                        await chat.tell("say", client_id="once", text=LONG)
                        spoken = True
                    if frame["type"] == "delta":
                        ready.release()
                    if frame["type"] == "moving":
                        moves += 1
                        break
                    if frame["type"] == "message" and frame["message"]["role"] == "assistant":
                        return text, frame["message"]["text"], moves
        except (ConnectionClosed, InvalidStatus, OSError):
            await asyncio.sleep(0.05)


async def complete(front: Gateway, key: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{front.url}/v1", api_key=key, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="helper", messages=[{"role": "user", "content": LONG}], stream=True
        )
        parts, finish = [], None
        async for chunk in stream:
            parts.append(chunk.choices[0].delta.content or "")
            finish = chunk.choices[0].finish_reason or finish
        assert finish == "stop"
        return "".join(parts)


async def events(front: Gateway, public_id: str) -> tuple[str, str]:
    async with aiohttp.ClientSession() as http:
        page: Any = Stream(http, front, public_id)
        page.token = (await page.say(LONG, "once"))["token"]
        async for frame in page.events():
            if frame["type"] == "message" and frame["message"]["role"] == "assistant":
                return page.text, frame["message"]["text"]
    raise AssertionError("the stream ended before its answer")


async def test_sigterm_breaks_no_stream(
    database: Any, redis_url: str, model_url: str, tmp_path: Path, house: House
) -> None:
    public_ids = [house.connect("web") for _ in range(CHATS + 2)]
    key = house.key()
    with ExitStack() as stack:
        first, second = (stack.enter_context(running("uvicorn", tmp_path, model_url)) for _ in range(2))
        async with proxied(first, second) as front, asyncio.timeout(PATIENCE):
            ready = asyncio.Semaphore(0)
            chats = [asyncio.create_task(chat_through(front, place, ready)) for place in public_ids[:CHATS]]
            streams = [asyncio.create_task(complete(front, key)) for _ in range(3)]
            pages = [asyncio.create_task(events(front, place)) for place in public_ids[CHATS:]]
            for _ in range(CHATS * 2):
                await ready.acquire()
            first.process.send_signal(signal.SIGTERM)
            shown = await asyncio.gather(*chats)
            answers = await asyncio.gather(*streams)
            listened = await asyncio.gather(*pages)
            assert await asyncio.to_thread(first.process.wait, PATIENCE) in (0, -signal.SIGTERM)
        log = first.log.read_text()
    assert all(text == stored and len(stored.split()) >= 45 for text, stored, _ in shown), shown
    assert all(moves == 1 for _, _, moves in shown)
    assert all(len(answer.split()) >= 45 for answer in answers)
    assert all(text == stored and len(stored.split()) >= 45 for text, stored in listened)
    assert "doors_moving" in log and "Traceback" not in log


async def test_an_idle_chat_is_told_to_move_and_a_drained_gateway_is_not_ready(
    database: Any, redis_url: str, model_url: str, tmp_path: Path, house: House
) -> None:
    with running("uvicorn", tmp_path, model_url) as gateway:
        public_id = house.connect("web")
        async with asyncio.timeout(PATIENCE), opened(gateway, public_id) as chat, aiohttp.ClientSession() as http:
            await chat.until("welcome")
            page: Any = Stream(http, gateway, public_id)
            heard = [frame["type"] async for frame in _with_signal(page, gateway)]
            assert heard[0] == "welcome" and heard[-1] == "moving"
            moving = await chat.until("moving")
            assert moving["cursor"] == "0.0.0"
            with pytest.raises(ConnectionClosed):
                await chat.hear()
        await asyncio.to_thread(gateway.process.wait, PATIENCE)


async def _with_signal(page: Any, gateway: Gateway) -> AsyncIterator[dict[str, Any]]:
    async for frame in page.events():
        yield frame
        if frame["type"] == "welcome":
            gateway.process.send_signal(signal.SIGTERM)
