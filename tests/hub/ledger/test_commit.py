"""A commit whose answer is lost: what landed is known as landed, and its first part is sent by who wrote it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg

from hub.ledger.commit import Committed, Committer
from tests.hub.ledger.steps import LEASE, Steps


class _Breaking:
    """Connections of which the first so many are lost: after their commit, or before it."""

    def __init__(self, steps: Steps, *, times: int = 1, landed: bool = True) -> None:
        self.steps, self.times, self.landed = steps, times, landed

    @asynccontextmanager
    async def app(self, tenant_id: UUID) -> AsyncIterator[Any]:
        breaks, self.times = self.times > 0, self.times - 1
        async with self.steps.pools.app(tenant_id) as conn:
            if breaks and not self.landed:
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            yield conn
        if breaks:
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    def committer(self) -> Committer:
        return Committer(self.app, lease=LEASE, worker_id=self.steps.worker)


async def test_a_commit_that_landed_unheard_goes_on_to_send(steps: Steps) -> None:
    said = [await steps.say(place) for place in (b"p", b"q")]
    claimed = await steps.claim(*[one.session_id for one in said])
    rows = [steps.reply(one, parts=2) for one in claimed]
    results = await _Breaking(steps).committer().write(rows)
    for row, result in zip(rows, results, strict=True):
        assert isinstance(result, Committed)
        assert (result.seq, result.sending) == (2, row.parts[0].delivery_id)
    assert steps.value("SELECT count(*) FROM message WHERE role = 'assistant'") == 2
    assert await steps.settle(rows[0].parts[0].delivery_id, "sent")


async def test_a_commit_that_did_not_land_is_written_again(steps: Steps) -> None:
    said = await steps.say()
    [claimed] = await steps.claim(said.session_id)
    [result] = await _Breaking(steps, times=2, landed=False).committer().write([steps.reply(claimed, parts=1)])
    assert isinstance(result, Committed) and result.sending is not None
    assert steps.statuses() == [(1, "sending")]


async def test_what_somebody_else_began_since_is_not_sent_by_us(steps: Steps) -> None:
    said = await steps.say()
    [claimed] = await steps.claim(said.session_id)
    row = steps.reply(claimed, parts=1)
    committer = Committer(steps.pools.app, lease=LEASE, worker_id=steps.worker)
    assert isinstance((await committer.write([row]))[0], Committed)
    steps.rows("UPDATE delivery SET attempts = 2")
    [again] = await committer.write([row])
    assert isinstance(again, Committed) and again.sending is None


async def test_a_turn_that_another_worker_ended_is_fenced_all_the_same(steps: Steps) -> None:
    said = await steps.say()
    [claimed] = await steps.claim(said.session_id)
    assert await steps.commit(claimed, parts=1) is not None
    assert await _Breaking(steps, times=0).committer().write([steps.reply(claimed, parts=1)]) == [None]
