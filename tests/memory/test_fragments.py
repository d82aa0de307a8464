"""The life of a fragment: kept below the threshold, one summary above it, recallable at every moment."""

import asyncio
from uuid import UUID

from memory.embeddings.minilm import MiniLM
from memory.types import Policy
from tests.memory.world import World, round_of

POLICY = Policy(rounds=10, keep_rounds=2, recall_limit=5)


async def test_a_fragment_left_at_three_of_ten_is_continued_after_loss(world: World, embedder: MiniLM) -> None:
    key = world.key()
    for number in range(3):
        await world.say(key, round_of(number, f"question {number}", f"answer {number}"), POLICY)
    assert await world.rows("SELECT count(*) FROM summary") == [(0,)]
    await world.redis.flushall()
    other = world.twin(embedder)  # another process: nothing in its memory
    await other.pools.open()
    try:
        buffer = await other.memory.open(key, POLICY)
        assert [line.seq for line in buffer.lines] == [1, 2, 3, 4, 5, 6]
        for number in range(3, 9):
            await other.say(key, round_of(number, f"question {number}", f"answer {number}"), POLICY)
            assert other.batches == []
        assert await other.rows("SELECT count(*) FROM summary") == [(0,)]
        await other.say(key, round_of(9, "question 9", "answer 9"), POLICY)
        assert await other.digest() == [True]
        rows = await other.rows("SELECT first_seq, last_seq, lines, vector IS NOT NULL, embedder FROM summary")
        assert rows == [(1, 20, 20, True, embedder.identity)]
    finally:
        await other.redis.aclose()
        await other.pools.close()


async def test_replaying_a_batch_leaves_one_row(world: World) -> None:
    key = world.key()
    for number in range(10):
        await world.say(key, round_of(number, f"q{number}", f"a{number}"), POLICY)
    batch = world.batches[0]
    assert await world.digester.run(world.tenant_id, batch.id) is True
    assert await world.digester.run(world.tenant_id, batch.id) is False
    assert await world.rows("SELECT id, lines FROM summary") == [(batch.id, 20)]


async def test_a_replayed_turn_changes_nothing(world: World) -> None:
    key = world.key()
    before = await world.memory.open(key, POLICY)
    lines = [line for number in range(10) for line in round_of(number, f"q{number}", f"a{number}")]
    await world.say(key, lines, POLICY, before)
    await world.say(key, lines, POLICY, before)  # the same turn again, with a batch id of its own
    assert await world.rows("SELECT count(*), count(DISTINCT batch_id) FROM memory_line") == [(20, 1)]
    assert await world.rows("SELECT count(*) FROM memory_batch") == [(1,)]


async def test_what_is_claimed_and_not_yet_written_is_recalled(world: World) -> None:
    key = world.key()
    await world.say(key, round_of(0, "My sister Zelda keeps bees near Lisbon", "How nice"), POLICY)
    for number in range(1, 10):
        await world.say(key, round_of(number, f"weather {number}", f"sunny {number}"), POLICY)
    assert len(world.batches) == 1
    for digested in (False, True):
        recalled = await world.memory.recall(key, "Where does my sister keep bees?", POLICY)
        assert "Zelda" in recalled.items[0].text, digested
        assert list(recalled.items[0].seqs) == [1]
        shown = {line.seq for line in (await world.memory.open(key, POLICY)).lines}
        assert not shown & {seq for item in recalled.items for seq in item.seqs}
        await world.digest()


async def test_the_buffer_from_postgresql_equals_the_folded_one(world: World) -> None:
    key = world.key()
    for number in range(13):
        folded = await world.say(key, round_of(number, f"q{number}", f"a{number}"), POLICY)
        if number == 11:
            await world.digest()
        await world.redis.flushall()
        assert await world.memory.open(key, POLICY) == folded


async def test_a_cached_buffer_that_missed_a_write_is_not_used(world: World) -> None:
    key = world.key()
    first = await world.say(key, round_of(0, "q0", "a0"), POLICY)
    await world.say(key, round_of(1, "q1", "a1"), POLICY)
    await world.redis.delete(f"memory:{key.tenant_id}:buffer:{key.session_id}")
    await world.cache.put_buffer(key, first)
    assert (await world.memory.open(key, POLICY, at_least=4)).last_seq == 4


async def test_an_older_buffer_never_replaces_a_newer_one(world: World) -> None:
    key = world.key()
    first = await world.say(key, round_of(0, "q0", "a0"), POLICY)
    second = await world.say(key, round_of(1, "q1", "a1"), POLICY)
    await world.cache.put_buffer(key, first)
    assert await world.memory.open(key, POLICY) == second


async def test_results_are_cached_until_a_summary_lands(world: World) -> None:
    subject = world.key().subject_id
    key, other = world.key(subject=subject), world.key(subject=subject)
    for number in range(10):
        await world.say(key, round_of(number, f"I planted {number} tulips in Utrecht", "Good"), POLICY)
    first = await world.memory.recall(other, "What about tulips?", POLICY)
    again = await world.memory.recall(other, "What about tulips?", POLICY)
    assert "cached" in again.timings_ms
    assert again.items == first.items
    await world.digest()
    assert "cached" not in (await world.memory.recall(other, "What about tulips?", POLICY)).timings_ms


async def test_overdue_batches_are_named_once_per_delay(world: World) -> None:
    from memory.tasks import sweep

    key = world.key()
    for number in range(10):
        await world.say(key, round_of(number, f"q{number}", f"a{number}"), POLICY)
    mine = (world.tenant_id, world.batches[0].id)
    assert mine not in await sweep(world.pools)
    await world.rows("UPDATE memory_batch SET due_at = now() - interval '1 second' RETURNING id")
    assert mine in await sweep(world.pools)
    assert mine not in await sweep(world.pools)
    assert await world.digest() == [True]


async def test_another_tenant_sees_nothing(world: World) -> None:
    from tests.memory.world import make_tenant

    key = world.key()
    for number in range(10):
        await world.say(key, round_of(number, "I planted tulips in Utrecht", "Good"), POLICY)
    await world.digest()
    stranger = type(key)(
        tenant_id=make_tenant(world.superuser_dsn), session_id=key.session_id, subject_id=key.subject_id
    )
    assert (await world.memory.recall(stranger, "tulips in Utrecht", POLICY)).items == []
    assert (await world.memory.open(stranger, POLICY)).lines == []
    assert isinstance(stranger.tenant_id, UUID)


async def test_what_is_forgotten_is_nowhere(world: World) -> None:
    key, other = world.key(), world.key()
    for number in range(12):
        await world.say(key, round_of(number, "I planted tulips in Utrecht", "Good"), POLICY)
        await world.say(other, round_of(number, "I planted tulips in Delft", "Good"), POLICY)
    await world.digest()
    asking = world.key(subject=key.subject_id)
    assert (await world.memory.recall(asking, "tulips", POLICY)).items
    await asyncio.to_thread(_forget, world.tenant_id, key.subject_id)
    assert (await world.memory.recall(asking, "tulips", POLICY)).items == []
    assert (await world.memory.open(key, POLICY)).lines == []
    assert (await world.memory.recall(world.key(subject=other.subject_id), "tulips", POLICY)).items


def _forget(tenant_id: UUID, subject_id: UUID) -> None:
    from django.db import connections

    from hub.pipeline.forgetting import forget
    from tenants.context import tenant_scope

    with tenant_scope(tenant_id):
        forget(tenant_id, subject_id=subject_id)
    connections.close_all()
