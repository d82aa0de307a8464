"""Runners and gateways that die, sleep, or end at a named point of the code."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from hub.pipeline import crash
from tests.faults.outcome import GIVEN_UP, Dose, Result, spread
from tests.faults.reading import settle_and_check
from tests.faults.rig import LEASE_SECONDS, Node, Rig

_HELD = """
SELECT s.turn_id, s.fence FROM session s JOIN worker w ON w.id = s.lease_owner
WHERE w.pid = %s AND s.tenant_id = %s AND s.turn_id IS NOT NULL
"""
_MOVED = """
SELECT t.id, t.fence > h.fence FROM turn t JOIN unnest(%s::uuid[], %s::bigint[]) AS h(id, fence) ON h.id = t.id
WHERE t.fence > h.fence OR t.status <> 'running'
"""
"""Of these turns, those that are no longer the victim's, and whether another has them or the victim had ended them."""
SLEPT_SECONDS = 2 * LEASE_SECONDS + 1.0
"""A sleeper that was amid a commit keeps its tenant's rows until its transaction is ended, after the time of a lease;
what waited behind it begins then."""
GROWING = ("live.after_open", "live.after_send", "checkpoint.after")
"""Points that only a long answer reaches; see `growing.py`."""
BETWEEN = ("round.before_keep", "round.kept")
"""Points that only a turn of several rounds reaches; see `rounds.py`."""
INLINE = ("inline.before_settle",)
"""Points that only an answer in a response reaches; see the tests of the webhooks' door."""
POINTS = tuple(name for name in crash.POINTS if name not in GROWING + BETWEEN + INLINE)
_DYING = ("accept.before_commit", "accept.after_commit", "webhook.before_answer")


async def kill_runners(rig: Rig, dose: Dose) -> Result:
    """kill -9 of one of two runners under load, again and again; how soon the others have its turns."""
    result = Result(name="kill -9 of a runner")
    chance, took, before = random.Random(2), [], len(rig.drivers)
    with _slowly(rig):
        for _ in range(dose.faults):
            await rig.have(gateways=1, runners=2)
            driver = rig.drive(replace(dose, messages=dose.messages // dose.faults))
            sending = asyncio.create_task(driver.run())
            await asyncio.sleep(0.5 + chance.random())
            victim = chance.choice(rig.runners())
            took += await takeover(rig, victim, victim.kill)
            await sending
            result.faults += 1
    result.sent = _sent(rig, before)
    result.report = await settle_and_check(rig)
    result.figures |= spread("takeover", took)
    result.need(took, "no runner held a turn when it was killed")
    result.within(dose, 1.5, took, "a takeover")
    return result.done()


@contextmanager
def _slowly(rig: Rig) -> Iterator[None]:
    """Answers that take half a second, so that a runner has turns in hand when it is struck."""
    usual, rig.model.default = rig.model.default, replace(rig.model.default, first_delay=0.5)
    try:
        yield
    finally:
        rig.model.default = usual


async def takeover(rig: Rig, victim: Node, strike: Callable[[], object]) -> list[float]:
    """Strike, then measure for each turn that the victim held how long until it is claimed again."""
    waiting = await _laden(rig, victim)
    strike()
    began = time.monotonic()
    waiting |= await _held(rig, victim)  # what it took in the last moment
    took = []
    while waiting and time.monotonic() - began < GIVEN_UP:
        await asyncio.sleep(0.03)
        for turn, taken in await rig.rows(_MOVED, list(waiting), list(waiting.values())):
            waiting.pop(turn)
            if taken:
                took.append(time.monotonic() - began)
    return took + [GIVEN_UP] * len(waiting)


async def _laden(rig: Rig, victim: Node, *, turns: int = 2, seconds: float = 30.0) -> dict[UUID, int]:
    """Wait until the victim holds so many turns; these, with their fences.

    A slow machine may be done with the load before the victim had any of it: more is said then, for so many seconds.
    """
    until = time.monotonic() + seconds
    enough = time.monotonic() + 4.0
    while len(held := await _held(rig, victim)) < turns and time.monotonic() < until:
        if time.monotonic() > enough:
            await rig.drive(Dose(messages=12, conversations=12, rate=60.0)).run()
        else:
            await asyncio.sleep(0.02)
    return held


async def _held(rig: Rig, victim: Node) -> dict[UUID, int]:
    return dict(await rig.rows(_HELD, victim.process.pid, rig.planted.tenant))


def _sent(rig: Rig, before: int) -> int:
    """What was acknowledged to the drivers from this one on."""
    return sum(len(driver.acked) for driver in rig.drivers[before:])


async def pause_runner(rig: Rig, dose: Dose) -> Result:
    """SIGSTOP of a runner for twice its lease, then SIGCONT: others take over, the sleeper's commits are refused."""
    result = Result(name="SIGSTOP and SIGCONT of a runner")
    took: list[float] = []
    before = len(rig.drivers)
    with _slowly(rig):
        for number in range(dose.faults):
            await rig.have(gateways=1, runners=2)
            driver = rig.drive(replace(dose, messages=dose.messages // dose.faults))
            sending = asyncio.create_task(driver.run())
            await asyncio.sleep(0.8)
            victim = rig.runners()[number % 2]
            began = time.monotonic()
            took += await takeover(rig, victim, victim.pause)
            await asyncio.sleep(max(0.0, 2 * LEASE_SECONDS - (time.monotonic() - began)))
            victim.resume()
            await sending
            result.faults += 1
            result.need(victim.alive, "the sleeper ended")
    result.sent = _sent(rig, before)
    result.report = await settle_and_check(rig, seconds=90)
    result.figures |= spread("takeover", took)
    result.need(took, "no runner held a turn when it was stopped")
    result.within(dose, SLEPT_SECONDS, took, "a takeover")
    return result.done()


async def kill_gateways(rig: Rig, dose: Dose) -> Result:
    """Gateways that run turns too end between commit and answer; platforms send again."""
    result = Result(name="gateway dies between commit and answer")
    await rig.have(gateways=1, runners=0)
    part = replace(dose, messages=-(-dose.messages // dose.faults))
    for number in range(dose.faults):
        name = ("webhook.before_answer", "accept.after_commit")[number % 2]
        # Ready before anything is said: it would miss a small dose while it starts.
        node = await rig.gateway(role="all", crash_at=f"{name}:{3 + number % 7}")
        driver = rig.drive(part, seed=number)
        await driver.run()
        result.faults += not node.alive
        result.sent += len(driver.acked)
        result.figures["refused_attempts"] = result.figures.get("refused_attempts", 0) + len(driver.refused)
        node.kill()
    await rig.have(gateways=1, runners=1)  # who does what the dead have left
    result.report = await settle_and_check(rig)
    result.need(result.faults == dose.faults, "not every gateway died")
    return result.done()


async def _ends(node: Node, sending: "asyncio.Task[None]", seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while node.alive and not sending.done() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


def passages(name: str) -> int:
    """At which passage a process ends, so that it has work in hand by then."""
    return {"renew.before": 1, "claim.after_commit": 2}.get(name, 3)


async def crash_points(rig: Rig, dose: Dose, *, points: Sequence[str] = POINTS) -> Result:
    """Each named point ends a process under load, several at once; a process without a fault goes on beside them."""
    result = Result(name="every crash point")
    await rig.have(gateways=1, runners=1)
    for round_ in range(dose.faults):
        for start in range(0, len(points), 4):
            await _visit(rig, dose, points[start : start + 4], result, seed=1000 * round_ + start)
    result.report = await settle_and_check(rig, seconds=90)
    result.figures["points"] = len(points)
    return result.done()


async def _visit(rig: Rig, dose: Dose, points: Sequence[str], result: Result, *, seed: int) -> None:
    nodes = {name: await _armed(rig, name) for name in points}
    await asyncio.gather(*(rig.ready(node) for node in nodes.values()))
    driver = rig.drive(dose, seed=seed)
    sending = asyncio.create_task(driver.run())
    for node in nodes.values():
        await _ends(node, sending)
    await sending
    result.sent += len(driver.acked)
    for name, node in nodes.items():
        code = node.process.poll()
        result.faults += code == 137
        result.need(code == 137, f"{name} was not reached (exit {code})")
        node.kill()


async def _armed(rig: Rig, name: str) -> Node:
    at = f"{name}:{passages(name)}"
    if name in _DYING:
        return await rig.gateway(role="all", crash_at=at, wait=False)
    return await rig.runner(crash_at=at, wait=False)
