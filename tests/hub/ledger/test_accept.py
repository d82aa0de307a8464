"""Accept: deduplicated, admitted within the quotas whatever runs at once, ordered, due; and fused with the claim."""

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from hub.ledger.accept import STATEMENT, _parameters
from hub.ledger.connections import RoleConnection
from tests.hub.ledger.steps import LEASE, Steps
from tests.support.world import until


async def test_a_key_is_accepted_once(steps: Steps) -> None:
    key = uuid4().bytes
    rows = [steps.row(place=b"p", key_hash=key) for _ in range(20)]
    results = await asyncio.gather(*(steps.accept(row) for row in rows))
    assert sum(result[0] is not None for result in results) == 1
    assert steps.value("SELECT count(*) FROM message") == 1
    assert steps.value("SELECT count(*) FROM turn") == 1


async def test_in_one_batch_the_first_of_two_equal_messages_counts(steps: Steps) -> None:
    key = uuid4().bytes
    rows = [steps.row(place=b"p", key_hash=key), steps.row(place=b"p"), steps.row(place=b"p", key_hash=key)]
    first, second, repeated = await steps.accept(*rows)
    assert first is not None and second is not None
    assert repeated is None
    assert (first.seq, second.seq) == (1, 2)


async def test_an_idle_session_is_leased_at_once(steps: Steps) -> None:
    said = await steps.say(runner=steps.worker)
    assert (said.turn_id is not None, said.fence, said.due) == (True, 1, False)
    assert steps.rows("SELECT status, attempts, first_seq, last_seq FROM turn") == [("running", 1, 1, 1)]
    assert steps.quota("concurrency") == (1, 0)
    assert await steps.claim() == []
    waiting = await steps.say(runner=steps.worker)
    assert (waiting.turn_id, waiting.due) == (None, True)
    assert steps.rows("SELECT due_turns, merge_due, fence FROM session") == [(1, True, 1)]


async def test_a_burst_in_one_batch_is_one_leased_turn(steps: Steps) -> None:
    rows = [steps.row(place=b"p", runner=steps.worker) for _ in range(3)]
    said = await steps.accept(*rows)
    assert len({item.turn_id for item in said if item}) == 1
    assert steps.rows("SELECT count(*), min(first_seq), max(last_seq) FROM turn") == [(1, 1, 3)]


async def test_programs_get_one_turn_per_message(steps: Steps) -> None:
    await steps.accept(*(steps.row(place=b"p", merge=False, runner=steps.worker) for _ in range(3)))
    assert steps.rows("SELECT due_turns, merge_due FROM session") == [(3, False)]
    for seq in (1, 2, 3):
        [claimed] = await steps.claim()
        assert [place for place, _ in claimed.messages] == [seq]
        await steps.commit(claimed)
    assert steps.rows("SELECT due_turns, due_at FROM session") == [(0, None)]


async def test_concurrency_is_never_overspent(steps: Steps) -> None:
    steps.limit("concurrency", 5)
    leased = await asyncio.gather(*(steps.say(uuid4().bytes, runner=steps.worker) for _ in range(24)))
    claimed = await asyncio.gather(*(steps.claim() for _ in range(4)))
    running = sum(item.turn_id is not None for item in leased) + sum(map(len, claimed))
    assert running == 5
    assert steps.quota("concurrency") == (5, 0)


async def test_sessions_are_never_overspent(steps: Steps) -> None:
    steps.limit("sessions", 7)
    said = await asyncio.gather(*(steps.say(uuid4().bytes) for _ in range(24)))
    assert sorted(item.status for item in said) == ["accepted"] * 7 + ["refused"] * 17
    assert steps.quota("sessions") == (7, 0)


async def test_a_new_session_counts_once_however_many_meet_in_it(steps: Steps) -> None:
    steps.limit("sessions", 1)
    said = await asyncio.gather(*(steps.say(b"the same place") for _ in range(12)))
    assert steps.quota("sessions") == (1, 0)
    assert [item.status for item in said] == ["accepted"] * 12


async def test_the_last_session_of_the_quota_takes_what_two_processes_say_in_it(steps: Steps) -> None:
    steps.limit("sessions", 1)
    async with await psycopg.AsyncConnection.connect(steps.database.superuser_dsn) as slow:
        await slow.execute(STATEMENT, _parameters([steps.row(place=b"p")], LEASE))
        late = asyncio.create_task(steps.say())
        await steps.blocked()
        await slow.commit()
        assert (await late).status == "accepted"
    assert (await steps.say(b"another")).reason == "sessions"
    assert steps.quota("sessions") == (1, 0)


async def test_a_new_session_that_two_processes_make_at_once_counts_once(steps: Steps) -> None:
    steps.limit("sessions", 10)
    async with await psycopg.AsyncConnection.connect(steps.database.superuser_dsn) as slow:
        await slow.execute(STATEMENT, _parameters([steps.row(place=b"p")], LEASE))
        late = asyncio.create_task(steps.say())
        await steps.blocked()
        await slow.commit()
        assert (await late).status == "accepted"
    assert steps.quota("sessions") == (1, 0)


async def test_a_spent_budget_refuses_with_one_notice_a_day(steps: Steps) -> None:
    steps.limit("tokens_per_day", 100)
    steps.rows("UPDATE quota SET used = 100, period_start = now() WHERE metric = 'tokens_per_day'")
    said = [await steps.say() for _ in range(3)]
    assert {(item.status, item.reason) for item in said} == {("refused", "tokens_per_day")}
    assert steps.rows("SELECT kind, reason, first_seq FROM turn") == [("notice", "tokens_per_day", 1)]
    assert steps.rows("SELECT due_turns FROM session") == [(1,)]
    [claimed] = await steps.claim()
    assert (claimed.kind, claimed.reason, claimed.messages) == ("notice", "tokens_per_day", ())


async def test_a_human_owner_is_left_alone(steps: Steps) -> None:
    first = await steps.say()
    [claimed] = await steps.claim()
    await steps.commit(claimed)
    steps.rows("UPDATE session SET owner = 'human'")
    noted = await steps.say(runner=steps.worker)
    assert (noted.status, noted.turn_id, noted.due, noted.session_id) == ("noted", None, False, first.session_id)
    assert steps.value("SELECT count(*) FROM turn") == 1


async def test_no_notice_is_left_over_where_a_human_answers(steps: Steps) -> None:
    await steps.say()
    [claimed] = await steps.claim()
    await steps.commit(claimed)
    steps.rows("UPDATE session SET owner = 'human'")
    steps.limit("tokens_per_day", 100)
    steps.rows("UPDATE quota SET used = 100, period_start = now() WHERE metric = 'tokens_per_day'")
    await steps.say()
    due = steps.value("SELECT count(*) FROM turn WHERE status = 'due'")
    assert due == steps.value("SELECT due_turns FROM session") == 0


async def test_a_blocked_contact_is_refused_without_a_word(steps: Steps) -> None:
    contact = uuid4()
    await steps.say(contact_id=contact)
    [claimed] = await steps.claim()
    await steps.commit(claimed)
    steps.rows("UPDATE contact SET blocked = true WHERE id = %s", contact)
    said = await steps.say(contact_id=contact, contact_external=None)
    assert (said.status, said.reason, said.due) == ("refused", "blocked", False)
    assert steps.value("SELECT count(*) FROM turn WHERE status = 'due'") == 0


async def test_who_was_never_met_is_a_newcomer_once(steps: Steps) -> None:
    person = uuid4()
    assert (await steps.say(b"p", contact_id=person)).newcomer
    assert not (await steps.say(b"p", contact_id=person)).newcomer
    assert not (await steps.say(b"q", contact_id=person)).newcomer
    assert not (await steps.say(b"r", contact_id=uuid4(), contact_external=None, contact_name=None)).newcomer
    # In a session that is remembered under somebody else, a new face makes nobody new.
    assert not (await steps.say(b"p")).newcomer


async def test_a_debounce_waits_and_is_bounded(steps: Steps) -> None:
    said = await steps.say(debounce_ms=60_000)
    assert await steps.claim(said.session_id) == []
    steps.rows("UPDATE session SET due_since = now() - interval '239 s'")
    await steps.say(debounce_ms=60_000)
    wait = steps.value("SELECT extract(epoch FROM due_at - now()) FROM session")
    assert 0 < wait < 2
    steps.rows("UPDATE session SET due_at = now()")
    [claimed] = await steps.claim(said.session_id)
    assert [seq for seq, _ in claimed.messages] == [1, 2]


async def test_a_bad_row_is_alone(steps: Steps) -> None:
    rows = [steps.row(place=b"%d" % number) for number in range(9)]
    rows[4] = steps.row(place=b"4", role="much too long for the column")
    results = await steps.acceptor.write(rows)
    assert [isinstance(result, BaseException) for result in results] == [number == 4 for number in range(9)]
    assert steps.value("SELECT count(*) FROM message") == 8


_WAITING = "FROM pg_stat_activity WHERE application_name = 'hub-ingest' AND wait_event_type = 'Lock'"


async def test_rows_outlive_a_broken_connection(steps: Steps) -> None:
    """The statement is cut while it waits for a lock: it is sent again, and nobody hears of it."""
    await steps.say(b"p")
    async with await psycopg.AsyncConnection.connect(steps.database.superuser_dsn) as other:
        await other.execute("SELECT 1 FROM session FOR UPDATE")
        said = asyncio.create_task(steps.say(b"p"))
        await until(lambda: steps.value(f"SELECT count(*) {_WAITING}"), what="the accept waits")
        assert steps.rows(f"SELECT pg_terminate_backend(pid, 5000) {_WAITING}")
        await other.rollback()
    assert ((await said).seq, (await said).status) == (2, "accepted")
    assert steps.value("SELECT count(*) FROM message") == 2


async def test_a_row_that_was_stored_unheard_is_not_stored_again(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks behind the commit: the second attempt finds the row a duplicate of itself."""
    fetch, broken = RoleConnection.fetch, list[int]()

    async def cut_behind(self: RoleConnection, *args: Any, **more: Any) -> Any:
        found = await fetch(self, *args, **more)
        if not broken:
            broken.append(1)
            raise psycopg.OperationalError("the connection is closed")
        return found

    monkeypatch.setattr(RoleConnection, "fetch", cut_behind)
    assert await steps.accept(steps.row(place=b"p")) == [None]
    assert steps.rows("SELECT last_seq, due_turns FROM session") == [(1, 1)]
    assert steps.value("SELECT count(*) FROM message") == 1


async def test_a_database_that_stays_away_is_said_so_in_time(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: Any, **__: Any) -> Any:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(RoleConnection, "fetch", gone)
    monkeypatch.setattr("hub.ledger.accept.AWAY_SECONDS", 0.2)
    with pytest.raises(psycopg.OperationalError):
        await steps.accept(steps.row())
