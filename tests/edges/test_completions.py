"""The OpenAI-compatible door, with the official client, behind both servers."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import orjson
import pytest

from tests.edges.conftest import Gateway, House

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
async def client(gateway: Gateway, house: House) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=house.key(), max_retries=0) as client:
        yield client


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_whole_answer(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="helper", messages=user("hello hub [[echo]]"))
    assert "hello hub" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and answer.usage.total_tokens > 0
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")


async def test_stream_with_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="helper", messages=user("tell me"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0


async def test_chunks_arrive_while_the_model_writes(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="helper", messages=user("slowly [[normal chunks=8 delay=0.05]]"), stream=True
    )
    times = [asyncio.get_running_loop().time() async for chunk in stream if chunk.choices[0].delta.content]
    assert len(times) >= 5 and times[-1] - times[0] > 0.15


def test_the_synchronous_client(gateway: Gateway, house: House) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=house.key(), max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["helper"]
        assert client.models.retrieve("helper").owned_by == "hub"
        stream = client.chat.completions.create(model="helper", messages=user("x [[echo]]"), stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream).startswith("x")


async def test_client_tools_end_the_turn_and_their_results_go_on(client: openai.AsyncOpenAI) -> None:
    ask = user('weather? [[tool name=weather args={"city":"Oslo"}]]')
    first = await client.chat.completions.create(model="helper", messages=ask, tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    calls = first.choices[0].message.tool_calls
    assert calls is not None and calls[0].type == "function"
    assert calls[0].function.name == "weather" and orjson.loads(calls[0].function.arguments) == {"city": "Oslo"}
    result = {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"}
    messages: Any = [*ask, first.choices[0].message.model_dump(exclude_none=True), result]
    second = await client.chat.completions.create(model="helper", messages=messages, tools=[WEATHER])
    assert "sunny" in (second.choices[0].message.content or "")


async def test_streamed_tools_within_a_session(client: openai.AsyncOpenAI) -> None:
    headers = {"X-Hub-Session": secrets.token_hex(4)}
    ask = user('weather? [[tool name=weather args={"city":"Rome"}]]')
    stream = await client.chat.completions.create(
        model="helper", messages=ask, tools=[WEATHER], stream=True, extra_headers=headers
    )
    calls = [call async for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    assert len(calls) == 1 and calls[0].function is not None and calls[0].id is not None
    result: Any = [{"role": "tool", "tool_call_id": calls[0].id, "content": "rain"}]
    second = await client.chat.completions.create(
        model="helper", messages=result, tools=[WEATHER], extra_headers=headers
    )
    assert "rain" in (second.choices[0].message.content or "")


@pytest.mark.parametrize("whole_history", [True, False])
async def test_several_results_go_on_with_one_turn_of_the_session(
    client: openai.AsyncOpenAI, model_url: str, *, whole_history: bool
) -> None:
    headers = {"X-Hub-Session": secrets.token_hex(4)}
    mark = secrets.token_hex(6)
    before = user(f"remember {mark}")
    await client.chat.completions.create(model="helper", messages=before, extra_headers=headers)
    ask = user('weather? [[tool name=weather calls=2 args={"city":"Oslo"}]]')
    first = await client.chat.completions.create(model="helper", messages=ask, tools=[WEATHER], extra_headers=headers)
    calls = first.choices[0].message.tool_calls or []
    assert len(calls) == 2
    results: list[Any] = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{mark} is {weather}"}
        for call, weather in zip(calls, ("sunny", "windy"), strict=True)
    ]
    messages = [*ask, first.choices[0].message.model_dump(exclude_none=True)] if whole_history else []
    second = await client.chat.completions.create(
        model="helper", messages=[*messages, *results], tools=[WEATHER], extra_headers=headers
    )
    assert second.choices[0].message.content == f"The tool said: {mark} is sunny {mark} is windy"
    sent = [call["body"]["messages"] for call in await sent_to_the_model(model_url)]
    last = next(found for found in reversed(sent) if f"{mark} is windy" in str(found))
    assert f"remember {mark}" in str(last), "the session's own history counts"
    assert [m["role"] for m in last][-4:] == ["user", "assistant", "tool", "tool"]
    third = await client.chat.completions.create(model="helper", messages=user("and? [[echo]]"), extra_headers=headers)
    assert "and?" in (third.choices[0].message.content or "")


async def sent_to_the_model(model_url: str) -> list[Any]:
    """All that the gateways sent, which the tests before this one had a part in."""
    async with aiohttp.ClientSession() as http, http.get(model_url.replace("/v1", "/control/calls")) as answer:
        return (await answer.json())["calls"]  # type: ignore[no-any-return]


async def _last_sent(model_url: str, words: str) -> str:
    """The messages of the last call with these words in it."""
    sent = [str(call["body"]["messages"]) for call in await sent_to_the_model(model_url)]
    return [messages for messages in sent if words in messages][-1]


async def test_a_session_remembers_and_a_stateless_call_does_not(client: openai.AsyncOpenAI, model_url: str) -> None:
    mark = secrets.token_hex(6)
    session = {"X-Hub-Session": secrets.token_hex(4)}
    await client.chat.completions.create(model="helper", messages=user(f"first {mark}"), extra_headers=session)
    await client.chat.completions.create(model="helper", messages=user(f"second {mark}"), extra_headers=session)
    last = await _last_sent(model_url, f"second {mark}")
    assert f"first {mark}" in last
    history: Any = [{"role": "user", "content": "mine"}, {"role": "assistant", "content": "own"}]
    await client.chat.completions.create(model="helper", messages=history + user(f"third {mark}"))
    last = await _last_sent(model_url, f"third {mark}")
    assert "mine" in last and "own" in last and f"first {mark}" not in last


async def test_many_at_once_in_one_session_each_get_their_own_answer(client: openai.AsyncOpenAI) -> None:
    headers = {"X-Hub-Session": secrets.token_hex(4)}

    async def ask(n: int) -> str:
        answer = await client.chat.completions.create(
            model="helper", messages=user(f"number {n}! [[echo]]"), extra_headers=headers
        )
        return answer.choices[0].message.content or ""

    answers = await asyncio.gather(*(ask(n) for n in range(6)))
    assert all(f"number {n}!" in answer for n, answer in enumerate(answers)), answers


async def test_an_idempotency_key_gets_the_same_answer(client: openai.AsyncOpenAI) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    first, second = [
        await client.chat.completions.create(model="helper", messages=user("once"), extra_headers=headers)
        for _ in range(2)
    ]
    assert first.id == second.id
    assert first.choices[0].message.content == second.choices[0].message.content


@pytest.mark.parametrize("change", ["messages", "user", "session"])
async def test_an_idempotency_key_stands_for_one_request(client: openai.AsyncOpenAI, change: str) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    await client.chat.completions.create(model="helper", messages=user("once"), extra_headers=headers)
    other: dict[str, Any] = {"messages": user("twice" if change == "messages" else "once")}
    if change == "user":
        other["user"] = "somebody"
    if change == "session":
        headers["X-Hub-Session"] = "elsewhere"
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await client.chat.completions.create(model="helper", **other, extra_headers=headers)
    assert caught.value.code == "idempotency_key_reused"


async def test_requests_are_counted_by_the_plan(uvicorn_gateway: Gateway, house: House) -> None:
    from tenants.models import Plan, Tenant

    def limit() -> None:
        plan = Plan.objects.create(slug=f"p{secrets.token_hex(4)}", name="Three a minute", requests_per_minute=3)
        Tenant.objects.filter(id=house.tenant_id).update(plan=plan)

    house.run(limit)
    key = house.key("chat", "read")
    client = openai.AsyncOpenAI(base_url=f"{uvicorn_gateway.url}/v1", api_key=key, max_retries=0)
    answer = await client.models.with_raw_response.list()
    assert answer.headers["x-ratelimit-limit-requests"] == "3"
    assert answer.headers["ratelimit-policy"] == '"minute";q=3;w=60'
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(8):  # the minute may end meanwhile
            await client.models.list()
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http:
        found = [await _status(http, f"{uvicorn_gateway.url}/api/v1/tenant/") for _ in range(4)]
    assert 429 in found, "both doors count the same"


async def _status(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as answer:
        return answer.status


async def test_a_client_that_leaves_does_not_end_its_turn(client: openai.AsyncOpenAI, gateway: Gateway) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    ask = user("long [[normal chunks=10 delay=0.05]]")
    stream = await client.chat.completions.create(model="helper", messages=ask, stream=True, extra_headers=headers)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            await stream.close()
            break
    answer = await client.chat.completions.create(model="helper", messages=ask, extra_headers=headers)
    assert answer.choices[0].finish_reason == "stop"
    assert len((answer.choices[0].message.content or "").split()) >= 8


async def test_a_provider_that_fails_never_shows_its_error(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="helper", messages=user("x [[error status=400]]"))
    assert answer.choices[0].message.content and "SECRET" not in answer.choices[0].message.content


BAD: list[tuple[Any, str | None]] = [
    ({"model": "helper"}, "messages"),
    ({"model": "helper", "messages": []}, "messages"),
    ({"model": "helper", "messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"model": "helper", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"model": "helper", "messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages[0].content"),
    ({"model": "helper", "messages": [{"role": "assistant", "content": "x"}]}, "messages"),
    ({"model": "helper", "messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"model": 5, "messages": [{"role": "user", "content": "x"}]}, "model"),
    ({"model": "helper", "messages": [{"role": "user", "content": "x"}], "n": 2}, "n"),
    ({"model": "helper", "messages": [{"role": "user", "content": "x"}], "temperature": 9}, "temperature"),
    ({"model": "helper", "messages": [{"role": "user", "content": "x"}], "max_tokens": -1}, "max_tokens"),
    ({"model": "helper", "messages": [{"role": "user", "content": "x"}], "tools": [{"type": "x"}]}, "tools[0]"),
    ({"model": "helper", "messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
    ([], None),
    ("{", None),
    ('{"model":"helper","messages":[{"role":"user","content":"\\ud800"}]}', None),
    ('{"model":' + "[" * 300 + "]" * 300 + "}", None),
]


@pytest.mark.parametrize(("body", "param"), BAD)
async def test_bad_requests(body: Any, param: str | None, uvicorn_gateway: Gateway, house: House) -> None:
    headers = {"Authorization": f"Bearer {house.key()}"}
    data = body if isinstance(body, str) else orjson.dumps(body)
    url = f"{uvicorn_gateway.url}/v1/chat/completions"
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, data=data) as answer:
        assert answer.status == 400
        error = (await answer.json())["error"]
        assert error["param"] == param and error["type"] == "invalid_request_error" and error["message"]


async def test_a_form_is_not_read_as_json(uvicorn_gateway: Gateway, house: House) -> None:
    headers = {"Authorization": f"Bearer {house.key()}"}
    url = f"{uvicorn_gateway.url}/v1/chat/completions"
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, data={"model": "helper"}) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (415, "unsupported_media_type")


async def test_refusals_in_the_apis_own_shape(gateway: Gateway, house: House) -> None:
    def asking(key: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0)

    good = house.key()
    with pytest.raises(openai.AuthenticationError):
        await asking("hub_wrong_key").chat.completions.create(model="helper", messages=user("x"))
    with pytest.raises(openai.PermissionDeniedError):
        await asking(house.key("read")).chat.completions.create(model="helper", messages=user("x"))
    with pytest.raises(openai.NotFoundError):
        await asking(good).chat.completions.create(model="nobody", messages=user("x"))
    with pytest.raises(openai.APIStatusError) as caught:
        await asking(good).chat.completions.create(model="helper", messages=user("x" * (1 << 20)))
    assert caught.value.status_code == 413


async def test_a_revoked_key_stops_within_five_seconds(uvicorn_gateway: Gateway, house: House) -> None:
    from tenants import keys
    from tenants.models import ApiKey

    key = house.key()
    client = openai.AsyncOpenAI(base_url=f"{uvicorn_gateway.url}/v1", api_key=key, max_retries=0)
    await client.models.list()
    house.run(lambda: keys.revoke(house.tenant_id, ApiKey.objects.get().id))
    for _ in range(50):
        await asyncio.sleep(0.1)
        try:
            await client.models.list()
        except openai.AuthenticationError:
            return
    pytest.fail("the key still works after five seconds")


async def test_a_used_up_budget_is_a_429_with_the_wait(uvicorn_gateway: Gateway, house: House) -> None:
    from tenants.models import Quota

    house.run(lambda: Quota.objects.filter(metric="tokens_per_day").update(override=1, used=5))
    client = openai.AsyncOpenAI(base_url=f"{uvicorn_gateway.url}/v1", api_key=house.key(), max_retries=0)
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="helper", messages=user("x"))
    assert int(caught.value.response.headers["retry-after"]) > 0
    assert caught.value.code == "insufficient_quota"
