"""The door of the pipeline: durable, deduplicated, honest about what it cannot take; and traffic as a whole."""

import asyncio
import logging
from typing import Any

import pytest

from channels_adapters.types import Address, InboundMessage, Outcome
from hub.pipeline.errors import Unavailable
from tenants.db.batching import Batcher, Overloaded
from tests.support.model_plans import Plan
from tests.support.traffic import MESSAGES, Traffic, account
from tests.support.world import World


def _message(number: int, **changes: Any) -> InboundMessage:
    place = changes.pop("conversation", "c1")
    values = {"external_id": f"m{number}", "sender_id": "u1", "text": "hi", "address": Address(conversation=place)}
    return InboundMessage(**{**values, **changes})


async def test_twenty_deliveries_at_once_are_one_turn(hub_runtime: World) -> None:
    outcomes = await asyncio.gather(*(hub_runtime.arrive("webhook", "hi", number=1) for _ in range(20)))
    assert sorted(outcomes) == sorted([[Outcome.NEW], *[[Outcome.DUPLICATE]] * 19])
    await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT status FROM turn") == [("finished",)]
    assert hub_runtime.fakes["webhook"].shown("c1") == ["hi"]


async def test_a_poisonous_message_is_alone_and_recorded(hub_runtime: World) -> None:
    connection = await hub_runtime.connection("webhook")
    events = [
        _message(1, text="with\0nul", conversation="c1"),
        _message(2, text="lone \ud800 surrogate", conversation="c2"),
        _message(3, conversation="bad \udc00 place"),
        _message(4, sender_id="bad \udc00 sender", conversation="c4"),
        _message(5, sender_name="n\0\ud800" * 500, conversation="c5"),
    ]
    outcomes = await hub_runtime.runtime.inbox.accept(connection, None, events)
    assert outcomes == [Outcome.NEW, Outcome.NEW, Outcome.IGNORED, Outcome.IGNORED, Outcome.NEW]
    assert (
        hub_runtime.rows("SELECT type, data FROM event") == [("message.poison", {"reason": "UnicodeEncodeError"})] * 2
    )
    await hub_runtime.quiet()
    assert hub_runtime.value("SELECT count(*) FROM turn WHERE status = 'finished'") == 3


async def test_a_caller_that_goes_away_takes_nothing_with_it(
    hub_runtime: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    acceptor: Any = hub_runtime.runtime.inbox._acceptor
    write, begun, go_on = acceptor.write, asyncio.Event(), asyncio.Event()

    async def slow(rows: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await write(rows)

    monkeypatch.setattr(acceptor, "write", slow)
    gone = asyncio.create_task(hub_runtime.arrive("webhook", "one", number=1))
    await begun.wait()
    stays = asyncio.create_task(hub_runtime.arrive("webhook", "two", number=2))
    gone.cancel()
    go_on.set()
    assert await stays == [Outcome.NEW]
    with pytest.raises(asyncio.CancelledError):
        await gone
    await hub_runtime.quiet()
    assert hub_runtime.value("SELECT count(*) FROM message WHERE role = 'user'") == 2
    assert await hub_runtime.arrive("webhook", "one", number=1) == [Outcome.DUPLICATE]


async def test_a_database_that_is_away_promises_nothing(hub_runtime: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    async def away(*_: Any) -> Any:
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(hub_runtime.runtime.inbox._acceptor, "write", away)
    with pytest.raises(Unavailable):
        await hub_runtime.arrive("webhook", "hi", number=1)
    monkeypatch.undo()
    assert await hub_runtime.arrive("webhook", "hi", number=1) == [Outcome.NEW]


async def test_the_queue_is_bounded_in_items_and_bytes() -> None:
    go_on = asyncio.Event()

    async def flush(items: Any) -> list[Any]:
        await go_on.wait()
        return [*items]

    few: Batcher[int, int] = Batcher(flush, capacity=4)
    large: Batcher[int, int] = Batcher(flush, capacity_bytes=100)
    waiting = [few.enqueue(number) for number in range(4)]
    waiting += [large.enqueue(number, size=50) for number in range(2)]
    for full in (few, large):
        with pytest.raises(Overloaded):
            full.enqueue(9, size=1)
    go_on.set()
    assert await asyncio.gather(*waiting) == [0, 1, 2, 3, 0, 1]
    assert await few.submit(7) == 7


async def test_a_batch_that_fails_fails_its_items_only() -> None:
    async def flush(items: Any) -> list[Any]:
        if 1 in items:
            raise ValueError("one")
        return [*items]

    batcher: Batcher[int, int] = Batcher(flush, max_items=1)
    found = await asyncio.gather(*(batcher.submit(number) for number in range(3)), return_exceptions=True)
    assert [type(item) for item in found] == [int, ValueError, int]


async def test_repeated_and_reordered_webhooks_are_answered_once_in_order(hub_runtime: World) -> None:
    """The proof with 10 000 webhooks in small: `tests/faults` has the full dose."""
    hub_runtime.set_quota("concurrency", -1)
    hub_runtime.model.default = Plan(kind="normal", chunks=2)
    traffic = Traffic.make(messages=600, conversations=40, seed=7)

    async def deliver(number: int, conversation: str, text: str) -> None:
        for _ in range(10):  # a platform that was told 503 sends again
            try:
                [outcome] = await hub_runtime.arrive("webhook", text, number=number, conversation=conversation)
            except Unavailable:
                await asyncio.sleep(0.2)
                continue
            assert outcome in (Outcome.NEW, Outcome.DUPLICATE)
            return
        raise AssertionError(f"message {number} was refused ten times")

    await traffic.send(deliver)
    await hub_runtime.until(
        lambda: not hub_runtime.value("SELECT count(*) FROM turn WHERE status <> 'finished'"), seconds=60
    )
    account(hub_runtime.rows(MESSAGES), messages=600)
    assert hub_runtime.quota("concurrency") == (0, 0)


async def test_one_tenants_many_sessions_do_not_lock_each_other_out(
    hub_runtime: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Accept, claim, commit and settle of one tenant meet on its quota rows: they wait, they do not deadlock."""
    hub_runtime.model.default = Plan(kind="normal", chunks=2)
    hub_runtime.set_quota("concurrency", 32)
    hub_runtime.set_quota("tokens_per_day", 1_000_000_000)
    before = _deadlocks(hub_runtime)
    second = await hub_runtime.another()

    async def talk(place: int) -> None:
        for number in range(4):
            runtime = second if number % 2 else hub_runtime.runtime
            await hub_runtime.say(f"{number}", conversation=f"c{place}", runtime=runtime)

    with caplog.at_level(logging.WARNING):
        await asyncio.gather(*(talk(place) for place in range(64)))
        await hub_runtime.quiet()
    account(hub_runtime.rows(MESSAGES), messages=256)
    assert hub_runtime.quota("concurrency") == (0, 0)
    assert hub_runtime.quota("tokens_per_day")[1] == 0
    assert _deadlocks(hub_runtime) == before


def _deadlocks(world: World) -> int:
    return int(world.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))
