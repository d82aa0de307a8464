"""A turn whose statement fails never keeps its session: the lease of a dead task is not renewed, whatever ended it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from tests.support.world import World

_WAITING = "SELECT {} FROM pg_stat_activity WHERE application_name = 'hub-app' AND wait_event_type = 'Lock'"
_STUCK = "SELECT id FROM session ORDER BY id DESC LIMIT 1"
_SESSION = f"{_STUCK} FOR UPDATE"
_QUOTA = "SELECT id FROM quota FOR UPDATE"


@asynccontextmanager
async def _locked(world: World, rows: str) -> AsyncIterator[None]:
    """Somebody holds these rows, so that the turn's commit waits in its statement."""
    async with await psycopg.AsyncConnection.connect(world.database.superuser_dsn) as conn:
        await conn.execute(rows.encode())
        yield
        await conn.rollback()


async def _at_commit(world: World) -> None:
    await world.until(lambda: world.value(_WAITING.format("count(*)")), what="the commit waits in its statement")


async def _asked_twice(world: World, *, chunks: int) -> None:
    """A turn that goes on, so that this process renews leases, and then one whose model has not answered yet.

    What each gets is said in its message: on a busy machine the second turn may reach the model first.
    """
    await world.say(f"go on [[normal chunks={chunks} delay=0.02]]", conversation="c1")
    await world.until(lambda: len(world.model.calls) == 1)
    await world.say("be stuck [[text text=here first_delay=0.4]]", conversation="c2")
    await world.until(lambda: len(world.model.calls) == 2)


@pytest.mark.parametrize("end", ["cut", "time limit"])
async def test_a_failed_statement_gives_the_turn_back(hub_runtime: World, end: str) -> None:
    await _asked_twice(hub_runtime, chunks=80)
    async with _locked(hub_runtime, _QUOTA):
        await _at_commit(hub_runtime)
        if end == "cut":
            assert hub_runtime.rows(_WAITING.format("pg_terminate_backend(pid)"))
        await hub_runtime.until(lambda: not hub_runtime.value(_WAITING.format("count(*)")), what="the statement ended")
    await _answered(hub_runtime)
    await hub_runtime.quiet()
    # A commit whose connection broke is sent again by the same turn; one that ran out of time is begun anew.
    attempts = 1 if end == "cut" else 2
    ended = hub_runtime.rows("SELECT max(attempts), min(status), max(status) FROM turn")
    assert ended == [(attempts, "finished", "finished")]
    assert hub_runtime.quota("concurrency") == (0, 0)


async def test_a_lease_that_cannot_be_given_back_ends_by_itself(hub_runtime: World) -> None:
    """The process goes on and renews what lives; of the dead task it knows nothing any more."""
    await _asked_twice(hub_runtime, chunks=250)
    runner = hub_runtime.runtime.runner
    assert runner is not None
    async with _locked(hub_runtime, _SESSION):
        await _at_commit(hub_runtime)
        assert hub_runtime.rows(_WAITING.format("pg_terminate_backend(pid)"))
        await hub_runtime.until(lambda: runner.active == 1, what="the turn has ended here, and is not given back")
    await _answered(hub_runtime)
    await hub_runtime.quiet()
    assert hub_runtime.quota("concurrency") == (0, 0)


async def _answered(world: World) -> None:
    """Until the turn that was stuck has its answer."""
    answered = f"SELECT role FROM message WHERE session_id = ({_STUCK}) ORDER BY seq"
    await world.until(lambda: world.rows(answered)[-1] == ("assistant",), what="the stuck turn is answered")
