"""The fakes behave: what they deliver is authentic now, and faults are the ones that were ordered."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from aiohttp import web

from channels_adapters import errors
from channels_adapters.types import Address, Outcome, Reply, WebhookRequest
from tests.conformance import cases
from tests.support.http import SocketHttp
from tests.support.platforms.registry import FAKES


@pytest.mark.parametrize("slug", cases.PUSHED)
async def test_a_delivered_webhook_is_authentic_and_a_redelivery_has_its_key(slug: str) -> None:
    keys: list[str] = []

    async def edge(request: web.Request) -> web.Response:
        frozen = WebhookRequest(
            method=request.method,
            path=request.path,
            query=request.query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
            url=str(request.url),
            received_at=datetime.now(tz=UTC),
        )
        adapter.verify(frozen)
        events = adapter.parse(frozen)
        keys.append(adapter.dedupe_key(events[0], frozen))
        answer = adapter.acknowledge(frozen, events, [Outcome.NEW])
        return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)

    app = web.Application()
    app.router.add_post("/hook", edge)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    async with FAKES[slug]() as platform, SocketHttp() as http:
        adapter = cases.against(platform, http)
        for number in (1, 1, 2):
            status, _ = await platform.deliver(url, platform.said("hi", number=number))
            assert status == 200
    await runner.cleanup()
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("slug", cases.PUSHED)
async def test_a_held_call_goes_on_when_it_is_released(slug: str) -> None:
    async with FAKES[slug]() as platform, SocketHttp() as http:
        adapter = cases.against(platform, http)
        platform.latency = 0.05
        platform.fail(hang="before")
        begun = time.monotonic()
        sending = asyncio.create_task(
            adapter.send(Address(conversation="7"), adapter.render(Reply(text="Hello"))[0], key="k")
        )
        done, _ = await asyncio.wait([sending], timeout=0.2)
        assert not done and platform.shown("7") == []
        platform.release()
        await sending
        assert platform.shown("7") == ["Hello"]
        assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize("slug", cases.PUSHED)
async def test_faults_are_used_up(slug: str) -> None:
    async with FAKES[slug]() as platform, SocketHttp() as http:
        adapter = cases.against(platform, http)
        part = adapter.render(Reply(text="Hello"))[0]
        platform.fail(status=429, retry_after=2, times=2)
        for _ in range(2):
            with pytest.raises(errors.RateLimited) as caught:
                await adapter.send(Address(conversation="7"), part, key="k")
            assert caught.value.retry_after == 2
        await adapter.send(Address(conversation="7"), part, key="k")
        assert platform.shown("7") == ["Hello"]
