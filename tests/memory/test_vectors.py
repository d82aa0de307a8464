"""A tenant without vectors: none is made, those that are stored leave, and recall finds by words."""

from dataclasses import replace

import pytest

from memory import vectors
from memory.packing import unpack
from memory.types import Policy
from tests.memory.world import World, round_of

_STORED = "SELECT vector IS NULL, embedder, shelf FROM summary ORDER BY id"


async def _talk(world: World, policy: Policy) -> object:
    key = world.key()
    for number, (asked, told) in enumerate(
        [("my cat is called Momo", "a fine name"), ("I work in Ghent", "nice town")]
    ):
        await world.say(key, round_of(number, asked, told), policy)
    assert await world.digest() == [True]
    return key


async def _switch(world: World, *, on: bool) -> None:
    async with world.pools.app(world.tenant_id) as conn:
        await conn.execute("UPDATE tenant SET vectors = %s WHERE id = %s", (on, world.tenant_id))


async def _stored(world: World) -> list[tuple[bool, str, bool]]:
    return [(bare, name, unpack(bytes(blob)).has_vectors) for bare, name, blob in await world.rows(_STORED)]


async def test_the_switch_stops_new_vectors_and_removes_old_ones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(rounds=2, keep_rounds=0)
    key = await _talk(world, policy)
    assert await _stored(world) == [(False, world.embedder.identity, True)]
    await _switch(world, on=False)
    await _talk(world, policy)  # its batch was frozen with vectors, as one is that waits while the switch is turned
    assert (await _stored(world))[1] == (True, "", False)
    assert await vectors.sweep(world.pools) == 1
    assert await _stored(world) == [(True, "", False)] * 2
    assert await vectors.drop(world.pools, world.tenant_id) == 0

    async def never(_: object) -> None:
        raise AssertionError("something was embedded")

    monkeypatch.setattr(world.embedder, "embed", never)
    found = await world.memory.recall(key, "what is my cat called?", replace(policy, vectors=False))  # type: ignore[arg-type]
    assert any("Momo" in item.text for item in found.items)


async def test_vectors_stay_where_they_are_not_switched_off(world: World) -> None:
    await _talk(world, Policy(rounds=2, keep_rounds=0))
    assert await vectors.drop(world.pools, world.tenant_id) == 0
    assert await vectors.sweep(world.pools) == 0
    assert (await _stored(world))[0][2]


async def test_an_agent_can_do_without_them_by_its_own_policy(world: World) -> None:
    await _talk(world, Policy(rounds=2, keep_rounds=0, vectors=False))
    assert await _stored(world) == [(True, "", False)]
