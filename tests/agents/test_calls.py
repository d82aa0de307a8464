"""The policy of model calls against real misbehaviour: silent switches, retries, waiting as asked, breakers."""

from typing import Any

import pytest

from agents.breaker import Breakers, circuit_key
from agents.calls import CallPolicy, ModelCalls
from agents.errors import NoRouteAnswered
from agents.providers import providers
from agents.providers.base import ChatRequest, Grounds, Provider
from agents.providers.openai_compatible import OpenAICompatible
from agents.providers.wire import Wire
from agents.types import ChatMessage, ModelRoute, Progress, Restarted, TextDelta, Usage
from tests.agents.parts import QUICK, route, shown
from tests.support.model_server import ModelServer


def calls_over(wire: Wire, breakers: Breakers | None = None, **policy: Any) -> ModelCalls:
    known: dict[str, Provider] = {**providers(wire), "openai": OpenAICompatible(wire, QUICK)}
    return ModelCalls(known, breakers=breakers, policy=CallPolicy(**{"backoff": 0.01, **policy}))


def ask(text: str) -> ChatRequest:
    grounds = Grounds(query=text, language="en")
    return ChatRequest(messages=(ChatMessage(role="user", text=text),), grounds=grounds)


async def run(calls: ModelCalls, routes: list[ModelRoute], text: str) -> tuple[str, list[Progress], list[Usage]]:
    seen, usage = list[Progress](), list[Usage]()
    answered = await calls.chat(routes, ask(text), seen.append, usage)
    assert shown(seen) == answered.completion.text
    return answered.completion.text, seen, usage


async def test_three_retries_then_an_answer_nobody_noticed(server: ModelServer, wire: Wire) -> None:
    text, seen, usage = await run(calls_over(wire), [route(server)], "[[500 times=3]] x")
    assert text == "Good day to you."
    assert all(isinstance(each, TextDelta) for each in seen)
    assert [u.kind for u in usage] == ["retry"] * 3 + ["reply"]
    assert [u.input_tokens for u in usage[:3]] == [0, 0, 0]


async def test_a_broken_stream_starts_again_and_its_tokens_are_booked(server: ModelServer, wire: Wire) -> None:
    _, seen, usage = await run(calls_over(wire), [route(server)], "[[cut times=1]] x")
    assert sum(isinstance(each, Restarted) for each in seen) == 1
    assert usage[0].kind == "retry"
    assert usage[0].estimated
    assert usage[0].input_tokens > 0 < usage[0].output_tokens


async def test_retry_after_is_honoured_within_its_bound(server: ModelServer, wire: Wire) -> None:
    await run(calls_over(wire), [route(server)], "[[429 retry_after=0.2 times=1]] x")
    assert 0.2 <= server.calls[1].at - server.calls[0].at < 0.5
    calls = calls_over(wire, longest_retry_after=0.5)
    with pytest.raises(NoRouteAnswered):
        await run(calls, [route(server)], "[[429 retry_after=30]]")
    assert server.count == 3
    assert calls.breakers.states()[circuit_key(route(server))] == "open"


async def test_the_chain_is_asked_in_order_and_costs_are_priced(server: ModelServer, wire: Wire) -> None:
    dear = ModelRoute(provider="openai", model="b", base_url=server.url, input_cost=1e6, output_cost=2e6)
    text, _, usage = await run(calls_over(wire), [route(server, "a"), dear], "[[401 times=1]] x")
    assert text == "Good day to you."
    assert [call.model for call in server.calls] == ["a", "b"]
    assert usage[-1].cost == usage[-1].input_tokens + 2 * usage[-1].output_tokens


async def test_open_circuit_spares_the_provider_and_one_probe_closes_it(server: ModelServer, wire: Wire) -> None:
    now = [0.0]
    calls = calls_over(wire, Breakers(threshold=2, rest=5, clock=lambda: now[0]), retries=0)
    for _ in range(4):
        with pytest.raises(NoRouteAnswered):
            await run(calls, [route(server)], "[[500]]")
    assert server.count == 2
    now[0] = 6.0
    with pytest.raises(NoRouteAnswered):
        await run(calls, [route(server)], "[[500]]")
    now[0] = 12.0  # twice the rest after a failed probe
    with pytest.raises(NoRouteAnswered):
        await run(calls, [route(server)], "fine")
    assert server.count == 3
    now[0] = 17.0
    assert (await run(calls, [route(server)], "fine"))[0] == "Good day to you."
    assert calls.breakers.states() == {}


def test_half_open_admits_one_and_a_cancelled_probe_frees_it() -> None:
    now = [0.0]
    breakers, key = Breakers(threshold=1, rest=5, most=2, clock=lambda: now[0]), ("u", "m", "k")
    breakers.failed(key, "unavailable")
    now[0] = 5.1
    assert [breakers.admit(key) for _ in range(3)] == [True, False, False]
    breakers.released(key)
    assert breakers.admit(key)
    breakers.failed(key, "bad_request")
    assert breakers.admit(key)
    for number in range(5):
        breakers.failed(("u", str(number), "k"), "timeout")
    assert len(breakers.states()) == 2


def test_many_that_fail_together_open_the_circuit_once_for_its_shortest_rest() -> None:
    now = [0.0]
    breakers, key = Breakers(threshold=5, rest=5, clock=lambda: now[0]), ("u", "m", "k")
    for _ in range(40):
        assert breakers.admit(key)
    for _ in range(40):
        breakers.failed(key, "timeout")
    now[0] = 5.1
    assert breakers.admit(key)
    breakers.failed(key, "timeout")
    now[0] = 15.0
    assert not breakers.admit(key)
    now[0] = 15.2
    assert breakers.admit(key)


async def test_one_providers_hang_leaves_the_others_alone(server: ModelServer, wire: Wire) -> None:
    import asyncio

    calls = calls_over(wire)
    hanging = asyncio.create_task(run(calls, [route(server, "h")], "[[hang]]"))
    await asyncio.sleep(0.05)
    await run(calls, [route(server)], "x")
    assert not hanging.done()
    with pytest.raises(NoRouteAnswered):
        await hanging


async def test_total_time_is_bounded(server: ModelServer, wire: Wire) -> None:
    with pytest.raises(NoRouteAnswered, match="total time"):
        await run(calls_over(wire, total=0.15), [route(server)], "[[hang]]")
