"""The scripted model server against the official client: what tests rely on must itself be true."""

import aiohttp
import openai
import pytest

from tests.support.model_plans import Plan, marker
from tests.support.model_server import ModelServer


async def test_official_client_reads_stream_tools_models_embeddings() -> None:
    async with ModelServer() as server, openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="scripted",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices).startswith("word0 word1 ")
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 64
        whole = await client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": '[[tool name=f args={"a": 1}]]'}]
        )
        assert whole.choices[0].message.tool_calls is not None
        assert whole.choices[0].message.tool_calls[0].function.arguments == '{"a": 1}'  # type: ignore[union-attr]
        assert [m.id async for m in client.models.list()] == ["scripted", "scripted-large"]
        vectors = await client.embeddings.create(model="e", input=["a", "a", "b"])
        assert vectors.data[0].embedding == vectors.data[1].embedding != vectors.data[2].embedding
        assert server.count == 3
        assert server.calls[0].finished


@pytest.mark.parametrize(("text", "status"), [("[[429 retry_after=7]]", 429), ("[[500]]", 500), ("[[overflow]]", 400)])
async def test_marker_decides_the_error(text: str, status: int) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": True}
    async with ModelServer() as server, aiohttp.ClientSession() as session:
        answer = await session.post(server.url + "/chat/completions", json=body)
        assert answer.status == status
        assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)


async def test_marker_counts_and_control_endpoint() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "[[500 times=1]] go"}]}
    async with ModelServer() as server, aiohttp.ClientSession() as session:
        root = server.url.removesuffix("/v1")
        await session.post(
            root + "/control", json={"queue": [{"kind": "text", "text": "queued"}], "default": {"chunks": 2}}
        )
        statuses = [(await session.post(server.url + "/chat/completions", json=body)).status for _ in range(3)]
        assert statuses == [500, 200, 200]
        calls = (await (await session.get(root + "/control/calls")).json())["calls"]
        assert [c["plan"] for c in calls] == ["error", "text", "normal"]


def test_marker_options() -> None:
    assert marker("nothing [[ here") is None
    assert marker("a [[normal chunks=5 delay=0.01]] b") == Plan(chunks=5, delay=0.01)
    assert marker("[[slow]]") == Plan(kind="slow", first_delay=1.0, delay=0.05)
