"""Processes that vanish, are taken for dead, or lose their connection; work goes on elsewhere at once."""

import asyncio
from typing import Any

from tests.support.model_plans import Plan
from tests.support.world import World


async def _vanish(runtime: Any) -> None:
    """What the others see of a killed process: its lock is gone, it renews and releases nothing."""
    tasks = [*runtime._tasks, *runtime.runner._loops, *runtime.runner._running.values()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    runtime._tasks, runtime._heartbeat = [], None
    await (await runtime.pools.direct()).close()


async def test_a_vanished_process_is_taken_over_before_its_lease_ends(hub_runtime: World) -> None:
    """Its turn was leased by the accept itself: the process died right after that commit."""
    second = await hub_runtime.another(lease_seconds=60.0)
    hub_runtime.model.script(Plan(kind="hang"))
    await hub_runtime.say("hello", runtime=second)
    await hub_runtime.until(lambda: hub_runtime.model.calls)
    assert hub_runtime.rows("SELECT lease_owner, attempts FROM session, turn") == [(second.worker_id, 1)]
    await _vanish(second)
    # Within the usual deadline of 20 s: a third of the lease, and far above what a busy machine delays by.
    await hub_runtime.until(lambda: hub_runtime.rows("SELECT status FROM turn") == [("finished",)])
    assert hub_runtime.rows("SELECT attempts FROM turn") == [(2,)]
    assert hub_runtime.quota("concurrency") == (0, 0)
    assert hub_runtime.rows("SELECT id FROM worker") == [(hub_runtime.runtime.worker_id,)]


async def test_what_a_dead_process_still_committed_is_freed_too(hub_runtime: World) -> None:
    """Its row is gone already; without it nobody would look for what it holds before the lease ends."""
    second = await hub_runtime.another(lease_seconds=60.0)
    hub_runtime.model.script(Plan(kind="hang"))
    await hub_runtime.say("hello", runtime=second)
    await hub_runtime.until(lambda: hub_runtime.model.calls)
    await _vanish(second)
    hub_runtime.rows(
        "UPDATE session SET lease_owner = gen_random_uuid(), lease_until = now() + interval '1 hour',"
        " due_at = now() + interval '1 hour'"
    )
    await hub_runtime.until(lambda: hub_runtime.rows("SELECT status, attempts FROM turn") == [("finished", 2)])


async def test_a_process_that_was_taken_for_dead_shows_itself_again(hub_runtime: World) -> None:
    hub_runtime.rows("DELETE FROM worker")
    await hub_runtime.until(lambda: hub_runtime.rows("SELECT id FROM worker") == [(hub_runtime.runtime.worker_id,)])


async def test_a_lost_connection_is_made_again_with_its_lock(hub_runtime: World) -> None:
    lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hub-direct'"
    assert hub_runtime.rows(lost)
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    await hub_runtime.until(lambda: hub_runtime.value(held) >= 2)
    await hub_runtime.say("still there?")
    await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT status FROM turn") == [("finished",)]
