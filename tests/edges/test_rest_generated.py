"""REST at a running gateway: a small dose of generated requests (`make fuzz` gives the full one), bounds, live."""

import asyncio
import os
import secrets
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
import pytest

from tests.edges.conftest import Gateway, House, apart
from tests.support.patience import PATIENCE

SEED = int(os.environ.get("REST_SEED", "1"))
EXAMPLES = int(os.environ.get("REST_EXAMPLES", "2"))


def _key() -> str:
    from tenants import keys
    from tenants.models import Plan, Tenant
    from tests.console.world import make_world

    world = make_world(f"t{secrets.token_hex(5)}")
    Tenant.objects.filter(id=world.tenant.id).update(plan=Plan.objects.get(slug="enterprise"))
    return keys.issue(world.tenant.id, scopes=["read", "write", "chat"]).key


@pytest.mark.filterwarnings("ignore")  # theirs
def test_the_api_keeps_what_its_document_promises(uvicorn_gateway: Gateway, database: Any) -> None:
    from tests.fuzz.rest_api import failures

    found = failures(uvicorn_gateway.url, apart(_key), examples=EXAMPLES, seed=SEED, steps=4, coverage=EXAMPLES > 5)
    assert not found, "\n".join(found)


async def test_bodies_are_bounded_before_anything_reads_them(gateway: Gateway) -> None:
    url, headers = f"{gateway.url}/api/v1/agents/", {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(url, data=b"x" * (1 << 20) + b"y") as answer:
            assert (answer.status, (await answer.json())["type"]) == (413, "urn:hub:problem:body_too_large")
        async with http.post(url, data=b"x", headers={"Content-Encoding": "gzip"}) as answer:
            assert (answer.status, (await answer.json())["type"]) == (415, "urn:hub:problem:unsupported_media_type")
        async with http.get(url, params={"q": "x" * 9000}) as answer:
            assert (answer.status, answer.content_type) == (431, "application/problem+json")


async def test_those_who_watch_see_what_is_posted(uvicorn_gateway: Gateway, house: House) -> None:
    public_id, key = house.connect("web"), house.key("read", "write")
    async with aiohttp.ClientSession() as http:
        said = {"client_id": "1", "text": "is somebody there?"}
        async with http.post(f"{uvicorn_gateway.url}/sse/chat/{public_id}/messages", json=said) as answer:
            told = await answer.json()
        headers = {"Authorization": f"Bearer {told['token']}"}
        async with http.get(f"{uvicorn_gateway.url}/sse/chat/{public_id}", headers=headers) as stream:
            await _until(stream, lambda event: _message(event).get("role") == "assistant")
            url = f"{uvicorn_gateway.url}/api/v1/sessions/{told['session']}/messages/"
            body = {"text": "Yes, I am.", "sender_name": "Ada"}
            async with http.post(url, json=body, headers={"Authorization": f"Bearer {key}"}) as answer:
                assert answer.status == 201, await answer.text()
            shown = await _until(stream, lambda event: _message(event).get("text") == "Yes, I am.")
            assert _message(shown)["sender_name"] == "Ada"


def _message(event: dict[str, Any]) -> dict[str, Any]:
    return dict(event["message"]) if event["type"] == "message" else {}


async def _until(stream: aiohttp.ClientResponse, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        async for line in stream.content:
            if line.startswith(b"data: ") and wanted(event := orjson.loads(line[6:])):
                return dict(event)
    raise AssertionError("the stream ended")
