"""Turns at work: stopped, failed, taken over, given up; leases that end and processes that leave."""

import asyncio
import functools
from typing import Any

import pytest

from hub.ledger.claim import Claimer
from hub.pipeline.stream import Cursor
from memory.redis_cache import buffer_key
from tests.support.model_plans import Plan
from tests.support.world import World


def _is_given_back(world: World, attempt: int) -> bool:
    return world.rows("SELECT attempts, lease_owner FROM turn, session") == [(attempt, None)]


async def _running(world: World) -> None:
    await world.until(lambda: world.model.calls, what="the model is asked")


async def test_the_stop_button_keeps_what_was_said(hub_runtime: World) -> None:
    hub_runtime.model.script(Plan(chunks=1000, delay=0.02))
    said = await hub_runtime.say("tell me")
    async with hub_runtime.runtime.chat.watch(hub_runtime.tenant_id, said.session_id, Cursor.START) as events:
        async for event in events:
            if event.type == "delta":
                break
    assert await hub_runtime.runtime.chat.stop(hub_runtime.tenant_id, said.session_id)
    await hub_runtime.quiet()
    [_, answer] = await hub_runtime.runtime.chat.history(hub_runtime.tenant_id, said.session_id)
    assert answer.finish == "stopped"
    assert answer.text.startswith("word0")
    assert hub_runtime.rows("SELECT status, attempts FROM turn") == [("stopped", 1)]


async def test_the_stop_button_in_another_process(hub_runtime: World) -> None:
    gateway = await hub_runtime.another(role="gateway")
    hub_runtime.model.script(Plan(chunks=1000, delay=0.02))
    said = await hub_runtime.say("tell me", runtime=gateway)
    await _running(hub_runtime)
    assert not await gateway.chat.stop(hub_runtime.tenant_id, said.session_id)
    await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT status FROM turn") == [("stopped",)]


async def test_a_stop_before_the_agent_began_ends_the_turn(hub_runtime: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, held = asyncio.Event(), asyncio.Event()
    turns: Any = hub_runtime.runtime.turns

    async def slow(*given: Any) -> Any:
        begun.set()
        await held.wait()

    monkeypatch.setattr(turns._agents, "spec", slow)
    said = await hub_runtime.say("never mind")
    await begun.wait()
    assert await hub_runtime.runtime.chat.stop(hub_runtime.tenant_id, said.session_id)
    await hub_runtime.until(lambda: hub_runtime.rows("SELECT status FROM turn") == [("stopped",)])


async def test_a_stop_during_the_commit_loses_nothing(hub_runtime: World, monkeypatch: pytest.MonkeyPatch) -> None:
    committing, go_on = asyncio.Event(), asyncio.Event()
    commits: Any = hub_runtime.runtime.turns.ending._commits
    submit = commits.submit

    async def slow(row: Any) -> Any:
        committing.set()
        await go_on.wait()
        return await submit(row)

    monkeypatch.setattr(commits, "submit", slow)
    await hub_runtime.arrive("webhook", "hi", number=1)
    await committing.wait()
    [session_id] = [row[0] for row in hub_runtime.rows("SELECT id FROM session")]
    assert await hub_runtime.runtime.chat.stop(hub_runtime.tenant_id, session_id)
    go_on.set()
    await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT status FROM turn") == [("finished",)]
    assert [text.strip() for text in hub_runtime.fakes["webhook"].shown("c1")] == ["hi"]


async def test_a_turn_that_fails_is_tried_again_then_given_up(
    hub_runtime: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(hub_runtime.runtime.agents, "spec", broken)
    await hub_runtime.arrive("webhook", "hi", number=1)
    for attempt in range(1, 6):
        given_back = functools.partial(_is_given_back, hub_runtime, attempt)
        await hub_runtime.until(given_back, what=f"attempt {attempt} is given back")
        hub_runtime.rows("UPDATE session SET due_at = now() - interval '1 s'")
    await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT status, attempts FROM turn") == [("dead", 6)]
    assert len(hub_runtime.fakes["webhook"].shown("c1")) == 1


async def test_a_turn_without_a_connection_is_given_up_too(hub_runtime: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = await hub_runtime.connection("webhook")

    async def gone(*_: Any) -> None:
        return None

    monkeypatch.setattr(hub_runtime.runtime.connections, "by_id", gone)
    monkeypatch.setattr(hub_runtime.runtime.turns._connections, "by_id", gone)
    row = hub_runtime.row(connection, runner=None)
    assert await hub_runtime.runtime.inbox.store(row) is not None
    await hub_runtime.until(functools.partial(_is_given_back, hub_runtime, 1))
    hub_runtime.rows("UPDATE turn SET attempts = 5")
    hub_runtime.rows("UPDATE session SET due_at = now() - interval '1 s'")
    await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT status FROM turn") == [("dead",)]
    assert hub_runtime.quota("concurrency") == (0, 0)


async def test_a_lost_lease_ends_the_work(hub_runtime: World) -> None:
    hub_runtime.model.script(Plan(kind="hang"))
    await hub_runtime.say("hello")
    await _running(hub_runtime)
    hub_runtime.rows("UPDATE session SET fence = fence + 1, lease_owner = NULL, due_at = now() + interval '1 hour'")
    runner = hub_runtime.runtime.runner
    assert runner is not None
    await hub_runtime.until(lambda: not runner.active, what="the fenced turn ends")
    await hub_runtime.until(lambda: hub_runtime.model.calls[0].closed, what="the model call is closed")
    assert hub_runtime.rows("SELECT status FROM turn") == [("running",)]
    hub_runtime.rows("UPDATE session SET due_at = now() - interval '1 s'")
    await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT status, attempts FROM turn") == [("finished", 2)]


async def test_a_drain_finishes_what_it_can_and_hands_over_the_rest(hub_runtime: World) -> None:
    leaving = await hub_runtime.another(lease_seconds=60.0)
    hub_runtime.model.script(Plan(kind="hang"))
    await hub_runtime.say("hello", runtime=leaving)
    await _running(hub_runtime)
    assert hub_runtime.rows("SELECT lease_owner FROM session") == [(leaving.worker_id,)]
    assert leaving.runner is not None
    await leaving.runner.drain(0.2)
    await hub_runtime.quiet()  # gives up long before the lease would end
    assert hub_runtime.rows("SELECT status, attempts FROM turn") == [("finished", 2)]


async def test_what_is_leased_to_a_draining_runner_is_given_back(hub_runtime: World) -> None:
    connection = await hub_runtime.connection("web")
    runtime = hub_runtime.runtime
    assert runtime.runner is not None
    await runtime.vault.load(hub_runtime.tenant_id)
    row = hub_runtime.row(connection, runner=runtime.worker_id)
    runtime.runner.draining = True
    assert await runtime.inbox.store(row) is not None
    await runtime.runner.close()
    assert hub_runtime.rows("SELECT lease_owner, due_at <= now() FROM session") == [(None, True)]


async def test_more_than_one_claim_full_is_taken_at_once(hub_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog is not worked off at 64 turns per poll."""
    await hub_world.runtime.pools.open()
    from hub.ledger.accept import Acceptor
    from hub.ledger.connections import Lease, RoleConnection

    connection_id = hub_world.value("SELECT id FROM connection WHERE channel = 'web'")
    from tests.support.world import accept_row

    hub_world.set_quota("concurrency", -1)
    rows = [accept_row(hub_world.tenant_id, connection_id, hub_world.agent_id) for _ in range(256)]
    await Acceptor(RoleConnection(hub_world.runtime.pools, "ingest"), Lease.of(3.0)).write(rows)
    hub_world.rows("UPDATE session SET due_at = now() - interval '5 s'")
    hub_world.model.default = Plan(kind="hang")
    claim, loop = Claimer.claim, asyncio.get_running_loop()
    polls = Polls(loop)

    async def watched(claimer: Claimer, **given: Any) -> Any:
        polls.asked()
        found = await claim(claimer, **given)
        polls.answered(len(found))
        return found

    monkeypatch.setattr(Claimer, "claim", watched)
    await hub_world.runtime.start()
    await hub_world.until(lambda: polls.full >= 4 and polls.timer is None, what="the last full claim is followed up")
    assert hub_world.value("SELECT count(*) FROM session WHERE turn_id IS NULL") == 0
    assert polls.waited == 0


class Polls:
    """Whether anything was waited for between a full claim and the next.

    A timer shorter than the poll is set at each full claim. It fires before the poll's own on an event loop of any
    speed, and never where the next claim follows without a wait; a stopwatch would measure the machine.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.full = self.waited = 0
        self.timer: asyncio.TimerHandle | None = None

    def asked(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def answered(self, found: int) -> None:
        if found == 64:
            self.full += 1
            self.timer = self.loop.call_later(0.1, self._late)

    def _late(self) -> None:
        self.waited += 1


async def test_a_freed_slot_goes_to_who_waits_for_it_at_once(
    hub_runtime: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here or in another process, without the poll that stands behind."""
    second = await hub_runtime.another(role="runner")
    monkeypatch.setattr("hub.pipeline.claiming.POLL_SECONDS", 60.0)
    await hub_runtime.until(lambda: len(hub_runtime.runtime._peers.living) == len(second._peers.living) == 2)
    await asyncio.sleep(0.3)  # the last poll that was begun before
    hub_runtime.set_quota("concurrency", 2)
    hub_runtime.model.default = Plan(kind="echo", first_delay=0.05)
    for number in range(12):
        await hub_runtime.arrive("webhook", f"n{number}", number=number, conversation=f"c{number}")
    await hub_runtime.until(lambda: hub_runtime.value("SELECT count(*) FROM turn WHERE status = 'finished'") == 12)
    assert hub_runtime.quota("concurrency") == (0, 0)


async def test_a_turn_that_was_overtaken_keeps_no_copy_of_what_it_knew(hub_runtime: World) -> None:
    """Somebody wrote into the session, or had it forgotten, while its model spoke: the next turn reads it anew."""
    hub_runtime.model.script(Plan(kind="text", text="one", first_delay=0.3), Plan(kind="text", text="two"))
    await hub_runtime.say("hello")
    await hub_runtime.until(lambda: hub_runtime.model.calls)
    hub_runtime.rows("UPDATE session SET version = version + 1")
    await hub_runtime.quiet()
    [(session_id, version)] = hub_runtime.rows("SELECT id, version FROM session")
    runtime = hub_runtime.runtime
    await runtime.memory.settled()
    name = buffer_key(hub_runtime.tenant_id, session_id)
    assert not await runtime.redis.exists(name)
    assert not runtime.agents.warm.holds(session_id, version)
    await hub_runtime.say("and again")
    await hub_runtime.quiet()
    await runtime.memory.settled()
    assert await runtime.redis.exists(name)
