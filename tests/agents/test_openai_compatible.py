"""The model client against a real server, with the official SDK as the oracle of what a stream means."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState

from agents.errors import ProviderError
from agents.providers.base import ChatRequest, Completion, Grounds, Toolset
from agents.providers.faults import classify_body
from agents.providers.openai_compatible import Limits, OpenAICompatible, encode
from agents.providers.sse import ChatStream
from agents.types import ChatMessage, ModelRoute, ToolSchema
from tests.support.model_plans import text_frames
from tests.support.model_server import ModelServer
from tests.support.patience import PATIENCE
from tests.support.wire import open_wire

NO_TOOLS = Toolset()
WEATHER = ToolSchema(name="weather", description="Weather", parameters={"type": "object", "properties": {}})
TOOLS = Toolset(
    schemas=(WEATHER,),
    wire=b'[{"type":"function","function":{"name":"weather","description":"Weather","parameters":{"type":"object"}}}]',
)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


def ask(text: str, *, tools: Toolset = NO_TOOLS) -> ChatRequest:
    grounds = Grounds(query=text, language="en")
    return ChatRequest(messages=(ChatMessage(role="user", text=text),), grounds=grounds, tools=tools)


async def chat(server: ModelServer, request: ChatRequest, limits: Limits | None = None) -> tuple[Completion, list[str]]:
    route = ModelRoute(provider="openai", model="scripted", base_url=server.url, api_key="secret")
    texts: list[str] = []
    async with open_wire() as wire:
        done = await OpenAICompatible(wire, limits).chat(route, request, texts.append)
    return done, texts


@pytest.mark.parametrize(
    "text",
    ["hello", "[[echo]] 你好，世界 and more", '[[tool name=weather args={"city": "上海"}]]', "[[normal chunks=1]]"],
)
async def test_same_stream_in_same_message_out_as_the_official_sdk(server: ModelServer, text: str) -> None:
    ours, texts = await chat(server, ask(text, tools=TOOLS))
    state = ChatCompletionStreamState()
    async with openai.AsyncOpenAI(base_url=server.url, api_key="secret", max_retries=0) as client:
        sent = server.calls[-1].body
        async for chunk in await client.chat.completions.create(**sent):
            state.handle_chunk(chunk)
    theirs = state.get_final_completion()
    message = theirs.choices[0].message
    assert ours.text == (message.content or "") == "".join(texts)
    assert ours.finish == theirs.choices[0].finish_reason
    calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or []]
    assert [(c.name, c.arguments) for c in ours.tool_calls] == [(name, arguments) for _, name, arguments in calls]
    assert theirs.usage is not None
    assert (ours.input_tokens, ours.output_tokens) == (theirs.usage.prompt_tokens, theirs.usage.completion_tokens)
    assert not ours.estimated
    assert server.calls[0].authorization == "Bearer secret"


async def test_deltas_of_one_read_leave_together(server: ModelServer) -> None:
    _, texts = await chat(server, ask("hello"))
    assert len(texts) <= 3


async def test_one_connection_serves_many_calls(server: ModelServer) -> None:
    route = ModelRoute(provider="openai", model="scripted", base_url=server.url)
    async with open_wire() as wire:
        for text in ("a", "[[normal chunks=3 delay=0.01]]", "[[500]]", "b"):
            with contextlib.suppress(ProviderError):
                await OpenAICompatible(wire).chat(route, ask(text), lambda _: None)
            assert len(server.connections) == 1


async def test_cached_tokens_are_counted(server: ModelServer) -> None:
    await chat(server, ask("the same"))
    done, _ = await chat(server, ask("the same"))
    assert done.cached_tokens == done.input_tokens > 0


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[[429 retry_after=3]]", "rate_limited"),
        ("[[500]]", "unavailable"),
        ("[[503]]", "overloaded"),
        ("[[401]]", "auth"),
        ("[[400]]", "bad_request"),
        ("[[overflow]]", "context_overflow"),
        ("[[cut after=2]]", "broken_stream"),
        ("[[bad_json]]", "broken_stream"),
        ("[[long_line]]", "broken_stream"),
        ("[[hang]]", "timeout"),
        ("[[normal chunks=5 delay=0.3]]", "timeout"),
    ],
)
async def test_faults_are_classified(server: ModelServer, text: str, kind: str) -> None:
    # Only a fault of time may be decided by time: a busy machine must not turn another into a silence.
    limits = Limits(first_byte=0.15, stall=0.1, total=5) if kind == "timeout" else Limits()
    with pytest.raises(ProviderError) as caught:
        await chat(server, ask(text), limits)
    assert caught.value.kind == kind
    assert caught.value.retry_after == (3 if kind == "rate_limited" else None)


async def test_slow_but_steady_is_no_fault(server: ModelServer) -> None:
    done, texts = await chat(server, ask("[[normal chunks=6 delay=0.05]]"), Limits(first_byte=1, stall=0.2, total=5))
    assert done.finish == "stop"
    assert len(texts) == 6


async def test_total_cap_ends_a_stream_that_never_stalls(server: ModelServer) -> None:
    began = time.monotonic()
    with pytest.raises(ProviderError, match="timeout"):
        await chat(server, ask("[[normal chunks=500 delay=0.02]]"), Limits(first_byte=1, stall=1, total=0.4))
    assert time.monotonic() - began < 5  # whole, the stream takes ten seconds


async def test_endless_answer_is_cut_and_kept(server: ModelServer) -> None:
    done, _ = await chat(server, ask("[[endless]]"), Limits(chars=5_000))
    assert done.finish == "length"
    assert done.estimated
    assert done.output_tokens > 0


async def test_cancelling_frees_the_models_socket(server: ModelServer) -> None:
    task = asyncio.create_task(chat(server, ask("[[normal chunks=100 delay=0.05]]")))
    while not server.calls:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(PATIENCE):
        while not server.calls[0].closed:
            await asyncio.sleep(0.01)


async def test_nobody_listens() -> None:
    async with ModelServer() as server:
        pass
    with pytest.raises(ProviderError) as caught:
        await chat(server, ask("x"))
    assert caught.value.kind == "unavailable"


@given(st.lists(st.integers(1, 40), max_size=400), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_any_split_of_the_bytes_gives_the_same_text(sizes: list[int], end: bytes) -> None:
    frames = text_frames("m", ("你好 ", "wide ", "world"))
    raw = b"".join(f.split(b"\r\n", 1)[1].removesuffix(b"\r\n").replace(b"\n\n", end) for f in frames)
    raw += b": comment" + end + b"data: [DONE]" + end
    stream, text, at = ChatStream(), "", 0
    for size in [*sizes, len(raw)]:
        text += stream.feed(raw[at : at + size])
        at += size
    assert text + stream.end() == "你好 wide world"
    assert stream.done
    assert stream.completion().finish == "stop"


def test_retry_after_as_date_and_quota_words() -> None:
    headers = {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert classify_body(429, {"error": {"message": "slow"}}, headers).retry_after == 0
    assert classify_body(429, {"error": {"code": "insufficient_quota", "message": "pay"}}).kind == "auth"
    assert classify_body(200, {"error": {"message": "Rate limit reached"}}).kind == "rate_limited"


def test_body_holds_images_and_tool_turns() -> None:
    import orjson

    from agents.types import Image, ToolCall

    call = ToolCall(id="c1", name="weather", arguments="{}")
    messages = (
        ChatMessage(role="user", text="see", images=(Image(url="data:image/png;base64,AA=="),)),
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="tool", text="sun", tool_call_id="c1"),
    )
    request = ChatRequest(messages=messages, grounds=Grounds(query="", language=""), max_tokens=5, temperature=0.0)
    body = orjson.loads(encode(ModelRoute(provider="openai", model="m"), request))
    assert body["messages"][0]["content"][1]["image_url"]["url"].startswith("data:")
    assert body["messages"][1]["content"] is None
    assert body["messages"][2]["tool_call_id"] == "c1"
    assert (body["max_tokens"], body["temperature"]) == (5, 0.0)
