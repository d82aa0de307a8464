"""Deliveries: in order, one at a time, each with an end, whoever settles what first."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg

from hub.ledger.claim import Claimed
from hub.ledger.commit import Committed, Committer, PartRow
from hub.ledger.leases import Liveness
from hub.ledger.live import LiveRow, find_live, open_live
from hub.ledger.settle import Sending, Settle
from tenants.ids import uuid7
from tests.hub.ledger.steps import LEASE, Steps


async def _replied(steps: Steps, *, parts: int = 3) -> UUID:
    """A session whose reply has so many parts; its first is leased to us."""
    said = await steps.say()
    [claimed] = await steps.claim(said.session_id)
    committed = await steps.commit(claimed, parts=parts)
    assert committed is not None and committed.sending is not None
    return committed.sending


async def test_parts_follow_each_other(steps: Steps) -> None:
    current = await _replied(steps)
    assert await steps.settler().claim(limit=10) == []
    for _ in range(2):
        following = await steps.settle(current, "sent")
        assert isinstance(following, Sending)
        current = following.delivery_id
    assert await steps.settle(current, "sent") is True
    assert steps.statuses() == [(1, "sent"), (2, "sent"), (3, "sent")]
    assert steps.value("SELECT unsettled FROM session") == 0


async def test_a_dead_part_skips_the_rest_of_its_reply_only(steps: Steps) -> None:
    first = await _replied(steps, parts=2)
    said = await steps.say()
    [claimed] = await steps.claim(said.session_id)
    committed = await steps.commit(claimed, parts=1)
    assert committed is not None and committed.sending is None
    following = await steps.settle(first, "dead", detail="gone")
    assert isinstance(following, Sending)
    assert steps.statuses() == [(1, "dead"), (2, "skipped"), (3, "sending")]
    await steps.settle(following.delivery_id, "sent")
    assert steps.value("SELECT unsettled FROM session") == 0


async def test_a_retry_holds_back_what_follows(steps: Steps) -> None:
    first = await _replied(steps, parts=2)
    assert await steps.settle(first, "retry", retry_after=60.0) is True
    assert await steps.settler().claim(limit=10) == []
    steps.rows("UPDATE delivery SET due_at = now() WHERE id = %s", first)
    [again] = await steps.settler().claim(limit=10)
    assert (again.delivery_id, again.attempts, again.stale) == (first, 2, False)
    assert isinstance(await steps.settle(first, "unknown"), Sending)


async def test_a_senders_end_leaves_a_stale_attempt(steps: Steps) -> None:
    first = await _replied(steps, parts=2)
    steps.rows("UPDATE delivery SET due_at = now() WHERE id = %s", first)
    other = uuid4()
    [taken] = await steps.settler(other).claim(limit=10)
    assert (taken.delivery_id, taken.stale, taken.attempts) == (first, True, 2)
    assert await steps.settle(first, "sent") is False
    assert isinstance(await steps.settle(first, "unknown", worker=other), Sending)


async def test_a_send_whose_holder_has_no_row_is_due_at_the_next_beat(steps: Steps) -> None:
    """Its process died while the statement that leased it was on its way, and was looked for before that landed."""
    await _replied(steps, parts=1)
    waits = "SELECT due_at > now() FROM delivery WHERE status = 'sending'"
    assert steps.value(waits) is True
    alive = Liveness(await steps.pools.direct(), worker_id=uuid4(), role="runner")
    await alive.register()
    await alive.beat()
    assert steps.value(waits) is False
    await alive.leave()


async def test_many_claim_each_delivery_once(steps: Steps) -> None:
    for number in range(6):
        said = await steps.say(b"%d" % number)
        [claimed] = await steps.claim(said.session_id)
        await steps.commit(claimed, parts=2)
    steps.rows("UPDATE delivery SET status = 'pending', due_at = now(), lease_owner = NULL")
    claims = await asyncio.gather(*(steps.settler(uuid4()).claim(limit=10) for _ in range(5)))
    taken = [item.delivery_id for claim in claims for item in claim]
    assert len(taken) == len(set(taken)) == 6
    assert steps.rows("SELECT DISTINCT position FROM delivery WHERE status = 'sending'") == [(1,)]


async def test_what_an_operator_skipped_is_not_sent_by_the_settle_before_it(steps: Steps) -> None:
    first = await _replied(steps, parts=2)
    async with await psycopg.AsyncConnection.connect(steps.database.superuser_dsn) as operator:
        await operator.execute("SELECT 1 FROM session FOR UPDATE")
        settle = asyncio.create_task(steps.settle(first, "sent"))
        await steps.blocked()
        await operator.execute("UPDATE delivery SET status = 'skipped', due_at = NULL WHERE position = 2")
        await operator.execute("UPDATE session SET unsettled = unsettled - 1")
        await operator.commit()
        await settle
    assert steps.statuses() == [(1, "sent"), (2, "skipped")]
    assert steps.value("SELECT unsettled FROM session") == 0


async def test_one_bad_outcome_does_not_take_the_others_with_it(steps: Steps) -> None:
    sending = []
    for number in range(3):
        said = await steps.say(b"%d" % number)
        [claimed] = await steps.claim(said.session_id)
        committed = await steps.commit(claimed, parts=1)
        assert committed is not None and committed.sending is not None
        sending.append((committed.sending, said.session_id))
    extras = ["{}", '{"a": "\\u0000"}', "{}"]
    results = await steps.settler().write(
        [
            Settle(delivery_id=delivery, session_id=session, status="sent", platform_extra=extra)
            for (delivery, session), extra in zip(sending, extras, strict=True)
        ]
    )
    assert [isinstance(result, BaseException) for result in results] == [False, True, False]
    assert sorted(status for _, status in steps.statuses()) == ["sending", "sent", "sent"]


async def test_receipts_only_move_forward(steps: Steps) -> None:
    first = await _replied(steps, parts=1)
    await steps.settle(first, "sent", platform_id="p1")
    settler = steps.settler()
    assert await settler.receipts(steps.connection_id, [("p1", "read")]) == 1
    assert await settler.receipts(steps.connection_id, [("p1", "delivered"), ("p2", "read")]) == 0
    assert steps.value("SELECT receipt FROM delivery") == "read"


async def _opened(steps: Steps) -> tuple[Claimed, UUID]:
    said = await steps.say()
    [claimed] = await steps.claim(said.session_id)
    row = LiveRow(
        delivery_id=uuid4(),
        session_id=claimed.session_id,
        connection_id=steps.connection_id,
        turn_id=claimed.turn_id,
        message_id=uuid7(),
        fence=claimed.fence,
        address=b"a",
        part=b"p",
        expires=datetime.now(UTC) + timedelta(minutes=5),
    )
    async with steps.pools.app(steps.tenant_id) as conn:
        assert await open_live(conn, row, worker_id=steps.worker, lease=LEASE)
    return claimed, row.delivery_id


async def test_a_live_message_gets_its_last_text_in_its_place(steps: Steps) -> None:
    claimed, delivery_id = await _opened(steps)
    await steps.settle(delivery_id, "live", platform_id="77")
    async with steps.pools.app(steps.tenant_id) as conn:
        found = await find_live(conn, claimed.session_id, claimed.turn_id)
    assert found == (delivery_id, "77", {})
    parts = [steps.part(0, delivery_id=delivery_id, live=True), steps.part(1)]
    committed = await _commit(steps, claimed, parts)
    assert committed == delivery_id
    following = await steps.settle(delivery_id, "sent")
    assert isinstance(following, Sending)
    assert await steps.settle(following.delivery_id, "sent") is True
    assert steps.statuses() == [(1, "sent"), (2, "sent")]
    assert steps.value("SELECT unsettled FROM session") == 0


async def test_a_commit_that_overtakes_the_live_settle_is_not_undone(steps: Steps) -> None:
    claimed, delivery_id = await _opened(steps)
    assert await _commit(steps, claimed, [steps.part(0, delivery_id=delivery_id, live=True)]) == delivery_id
    await steps.settle(delivery_id, "live", platform_id="77")
    assert steps.rows("SELECT status, platform_id, due_at > now() FROM delivery") == [("sending", "77", True)]
    assert await steps.settle(delivery_id, "sent") is True
    assert steps.value("SELECT unsettled FROM session") == 0


async def _commit(steps: Steps, claimed: Claimed, parts: list[PartRow]) -> UUID | None:
    committer = Committer(steps.pools.app, lease=LEASE, worker_id=steps.worker)
    [result] = await committer.write([replace(steps.reply(claimed), parts=parts)])
    assert isinstance(result, Committed)
    return result.sending
