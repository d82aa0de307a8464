"""A conversation whose every line stands in the prompt asks no store; whatever else is said makes it ask again."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from memory.buffer import fold
from memory.shown import SECONDS, Shown
from memory.types import Buffer, Exchange, Key, Policy, Recall
from tenants.ids import uuid7
from tests.memory.world import World, round_of

POLICY = Policy(rounds=4, keep_rounds=1)


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
async def looks(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Any]]:
    """Each of recall's looks at the store, which really happen."""
    seen: list[Any] = []
    real = world.pools.look

    async def counted(*args: Any) -> Any:
        if len(args) == 3:  # a buffer is read with one query
            seen.append(args)
        return await real(*args)

    monkeypatch.setattr(world.pools, "look", counted)
    yield seen


def pair() -> tuple[Key, Key]:
    tenant, subject = uuid7(), uuid7()
    return tuple(Key(tenant_id=tenant, session_id=uuid7(), subject_id=subject) for _ in range(2))  # type: ignore[return-value]


async def ask(world: World, key: Key, about: str = "Where do the bees live?") -> Recall:
    return await world.memory.recall(key, about, POLICY)


async def test_a_warm_conversation_looks_once(world: World, looks: list[Any]) -> None:
    key = world.key()
    for number in range(3):
        assert list((await ask(world, key)).items) == []
        await world.say(key, round_of(number, f"The bees live in Lisbon {number}", "So they do"), POLICY)
    assert len(looks) == 1


async def test_a_batch_makes_it_look_again(world: World, looks: list[Any]) -> None:
    key = world.key()
    await ask(world, key)
    for number in range(4):
        await world.say(key, round_of(number, f"The bees live in Lisbon {number}", "So they do"), POLICY)
    assert world.batches
    assert (await ask(world, key)).items
    assert len(looks) > 1


async def test_what_another_session_says_is_recalled_at_once(world: World) -> None:
    key = world.key()
    other = world.key(subject=key.subject_id)
    assert list((await ask(world, key)).items) == []
    await world.say(other, round_of(0, "The bees live in Porto", "Nice"), POLICY)
    assert "Porto" in (await ask(world, key)).items[0].text


def test_it_holds_for_seconds_only_and_for_its_session_only() -> None:
    clock, (mine, other) = Clock(), pair()
    shown = Shown(clock=clock)
    shown.note(mine, lowest=3, looked=shown.now())
    assert shown.covers(mine, 3)
    assert not shown.covers(mine, 4)
    assert not shown.covers(other, 1)
    clock.at += SECONDS
    assert not shown.covers(mine, 3)
    assert shown.covered(mine)


def test_a_look_that_missed_another_sessions_lines_notes_nothing() -> None:
    clock, (mine, other) = Clock(), pair()
    for known_before in (False, True):
        shown = Shown(clock=clock)
        if known_before:
            shown.note(other, lowest=None, looked=clock.at)
        looked = shown.now()
        clock.at += 1
        shown.appended(Exchange(key=other, lines=round_of(0, "a", "b")))
        shown.note(mine, lowest=None, looked=looked)
        assert not shown.covers(mine, 1)


def test_an_earlier_line_of_the_session_counts() -> None:
    key = pair()[0]
    shown = Shown(clock=Clock())
    shown.note(key, lowest=None, looked=shown.now())
    shown.appended(Exchange(key=key, lines=round_of(0, "a", "b")))
    assert shown.covers(key, 1)
    assert not shown.covers(key, 2)


async def test_nobody_looks_for_a_newcomer(world: World, looks: list[Any]) -> None:
    key = world.key()
    world.memory.meet(key)
    assert list((await ask(world, key)).items) == []
    await world.say(key, round_of(0, "The bees live in Lisbon", "So they do"), POLICY)
    assert list((await ask(world, key)).items) == []  # it stands in the prompt
    assert not looks
    other = world.key(subject=key.subject_id)
    assert "Lisbon" in (await ask(world, other)).items[0].text


def test_a_newcomer_who_has_said_something_elsewhere_meanwhile_is_known() -> None:
    clock, (mine, other) = Clock(), pair()
    shown = Shown(clock=clock)
    shown.appended(Exchange(key=other, lines=round_of(0, "a", "b")))
    shown.meet(mine)
    assert not shown.covers(mine, 1)
    shown = Shown(clock=clock)
    shown.meet(mine)
    assert shown.covers(mine, 1)
    clock.at += SECONDS
    assert not shown.covers(mine, 1)


def test_it_is_bounded() -> None:
    shown = Shown(clock=Clock(), most=2)
    keys = [pair()[0] for _ in range(3)]
    for key in keys:
        shown.note(key, lowest=None, looked=shown.now())
    assert [shown.covers(key, 1) for key in keys] == [False, True, True]


def test_a_kept_fragment_does_not_hide_its_batch() -> None:
    key, policy = pair()[0], Policy(rounds=2, keep_rounds=2)
    shown = Shown(clock=Clock())
    shown.note(key, lowest=1, looked=shown.now())
    lines = [*round_of(0, "a", "b"), *round_of(1, "c", "d")]
    _, batch = fold(Buffer(), lines, policy, key)
    assert batch is not None
    shown.appended(Exchange(key=key, lines=lines, batch=batch))
    assert not shown.covers(key, 1)


async def test_a_cold_session_is_in_redis_or_in_postgresql(world: World) -> None:
    key = world.key()
    folded = await world.say(key, round_of(0, "The bees live in Porto", "Nice"), POLICY)
    assert await world.memory.peek(key) == folded
    await world.redis.flushall()
    assert await world.memory.peek(key) is None
    assert await world.memory.rebuild(key, POLICY) == folded
