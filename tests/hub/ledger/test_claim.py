"""Claim, take-over, commit: one holder at a time, whatever overtakes what."""

import asyncio
from uuid import uuid4

import psycopg

from hub.ledger.accept import STATEMENT, _parameters
from tenants.db import literals
from tests.hub.ledger.steps import LEASE, Steps


async def test_a_session_is_leased_once(steps: Steps) -> None:
    for number in range(8):
        await steps.say(b"%d" % number)
    claims = await asyncio.gather(*(steps.claim(worker=uuid4()) for _ in range(6)))
    found = [item.session_id for claim in claims for item in claim]
    assert len(found) == len(set(found)) == 8
    assert steps.quota("concurrency") == (8, 0)


async def test_a_take_over_keeps_turn_messages_and_slot(steps: Steps) -> None:
    said = await steps.say()
    [first] = await steps.claim()
    steps.expire(said.session_id)
    other = uuid4()
    [second] = await steps.claim(worker=other)
    assert (second.turn_id, second.messages, second.fence, second.attempts) == (
        first.turn_id,
        first.messages,
        first.fence + 1,
        2,
    )
    assert steps.quota("concurrency") == (1, 0)
    assert await steps.commit(first) is None
    assert await steps.commit(second, worker=other) is not None
    assert steps.quota("concurrency") == (0, 0)
    assert steps.value("SELECT count(*) FROM message WHERE role = 'assistant'") == 1


async def test_what_arrives_while_a_turn_runs_is_the_next_turn(steps: Steps) -> None:
    said = await steps.say()
    [first] = await steps.claim()
    await asyncio.gather(*(steps.say() for _ in range(5)))
    committed = await steps.commit(first)
    assert committed is not None and committed.more
    [second] = await steps.claim(said.session_id)
    assert [seq for seq, _ in second.messages] == [2, 3, 4, 5, 6]
    committed = await steps.commit(second)
    assert committed is not None and not committed.more
    assert steps.rows("SELECT due_turns, merge_due, due_at, turn_id FROM session") == [(0, False, None, None)]


async def test_an_accept_that_overtakes_a_claim_loses_nothing(steps: Steps) -> None:
    """Two accepts and a claim, interleaved by hand: the second accept holds the session while the claim begins."""
    said = await steps.say()
    async with await psycopg.AsyncConnection.connect(steps.database.superuser_dsn) as slow:
        await slow.execute(STATEMENT, _parameters([steps.row(place=b"p")], LEASE))
        assert await steps.claim(said.session_id) == []
        late = asyncio.create_task(steps.say())
        await steps.blocked()
        await slow.commit()
        assert (await late).seq == 3
    [claimed] = await steps.claim(said.session_id)
    assert [seq for seq, _ in claimed.messages] == [1, 2, 3]
    assert steps.rows("SELECT due_turns, merge_due FROM session") == [(0, False)]


async def test_a_commit_that_overtakes_an_accept_leaves_it_due(steps: Steps) -> None:
    said = await steps.say()
    [first] = await steps.claim()
    async with await psycopg.AsyncConnection.connect(steps.database.superuser_dsn) as slow:
        await slow.execute(STATEMENT, _parameters([steps.row(place=b"p")], LEASE))
        commit = asyncio.create_task(steps.commit(first))
        await steps.blocked()
        await slow.commit()
        committed = await commit
    assert committed is not None and committed.more and committed.seq == 3
    [second] = await steps.claim(said.session_id)
    assert [seq for seq, _ in second.messages] == [2]


async def test_tenants_take_turns(steps: Steps) -> None:
    from tests.support.world import accept_row, make_tenant

    other, agent, _ = await asyncio.to_thread(make_tenant, {"web": {}})
    connection = steps.value("SELECT id FROM connection WHERE tenant_id = %s", other)
    for number in range(12):
        await steps.say(b"%d" % number)
    await steps.accept(*(accept_row(other, connection, agent) for _ in range(2)))
    claimed = await steps.claim(limit=4)
    assert sorted((item.tenant_id == other) for item in claimed) == [False, False, True, True]


async def test_a_session_whose_turn_is_gone_is_mended(steps: Steps) -> None:
    said = await steps.say()
    await steps.claim()
    steps.rows("DELETE FROM turn")
    steps.expire(said.session_id)
    assert await steps.claim() == []
    assert steps.rows("SELECT turn_id, lease_owner, due_at, due_turns FROM session") == [(None, None, None, 0)]
    assert steps.quota("concurrency") == (0, 0)
    again = await steps.say()
    [claimed] = await steps.claim(again.session_id)
    assert [seq for seq, _ in claimed.messages] == [2]


async def test_a_reservation_is_given_back(steps: Steps) -> None:
    steps.limit("tokens_per_day", 1_000_000)
    fused = await steps.say(b"fused", runner=steps.worker)
    await steps.say(b"claimed")
    [claimed] = await steps.claim()
    assert steps.quota("tokens_per_day") == (0, 8000)
    await steps.commit(claimed)
    assert fused.turn_id is not None
    steps.expire(fused.session_id)
    [taken] = await steps.claim()
    assert steps.quota("tokens_per_day") == (0, 4000)
    await steps.commit(taken)
    assert steps.quota("tokens_per_day") == (0, 0)


async def test_a_lease_is_renewed_and_released_by_its_holder_only(steps: Steps) -> None:
    said = await steps.say()
    [claimed] = await steps.claim()
    held = [(said.session_id, claimed.fence)]
    assert await steps.leases().renew(held) == {said.session_id}
    assert await steps.leases(uuid4()).renew(held) == set()
    assert await steps.leases().renew([(said.session_id, claimed.fence + 1)]) == set()
    await steps.leases(uuid4()).release(held)
    assert await steps.claim(said.session_id) == []
    await steps.leases().release(held, delay=60.0)
    assert await steps.claim(said.session_id) == []
    steps.expire(said.session_id)
    assert len(await steps.claim(said.session_id)) == 1


async def test_a_recount_waits_for_who_is_counting(steps: Steps) -> None:
    """A claim that commits while the recount waits for the quota row must be in the count."""
    await steps.say()
    async with await psycopg.AsyncConnection.connect(steps.database.superuser_dsn) as claiming:
        await claiming.execute("UPDATE quota SET used = used + 1 WHERE metric = 'concurrency'")
        await claiming.execute("UPDATE session SET turn_id = gen_random_uuid(), due_at = now()")
        recount = asyncio.create_task(steps.leases().recount())
        await steps.blocked()
        await claiming.commit()
        await recount
    assert steps.quota("concurrency") == (1, 0)


async def test_a_recount_puts_a_wrong_count_right(steps: Steps) -> None:
    await steps.say()
    await steps.claim()
    steps.rows("UPDATE quota SET used = 9 WHERE metric = 'concurrency'")
    await steps.leases().recount()
    assert steps.quota("concurrency") == (1, 0)


def test_literals_hold_what_they_are_given() -> None:
    assert literals.texts(['a"b\\c\0', None]) == '{"a\\"b\\\\c",NULL}'
