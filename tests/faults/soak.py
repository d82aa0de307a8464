"""`python -m tests.faults --soak SECONDS`: one continuous load while strikes of every kind follow each other."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.faults.driver import Driver
from tests.faults.outcome import Dose, Result, quantile
from tests.faults.reading import settle_and_check
from tests.faults.rig import Rig
from tests.faults.storage import answer_times
from tests.faults.striking import Strikes

RATE = 70.0
CONVERSATIONS = 240
ANSWER_SECONDS = 0.4
"""How long the model thinks, so that runners have turns in hand when they are struck."""
MOST_STRIKES = 1000
_ROUND = (
    *("kill runner",) * 6,
    *("kill gateway",) * 3,
    *("pause runner", "restart postgres", "flush valkey", "kill valkey"),
)
_ROLLS = ("roll runner", "roll gateway", "roll worker", "roll beat")
_LOST, _TWICE, _ORDER = ("I1", "I2"), ("I3", "I4"), ("I5", "I7")


def schedule(chance: random.Random) -> Iterator[str]:
    """Names of strikes without end: every kind in each round, in a new order; one kind of process rolled in each."""
    number = 0
    while True:
        names = [*_ROUND, _ROLLS[number % len(_ROLLS)]]
        chance.shuffle(names)
        yield from names
        number += 1


async def soak(rig: Rig, *, seconds: float, rate: float = RATE, seed: int = 7) -> dict[str, Any]:
    """So long a load of `rate` messages a second with strikes without a pause; then rest, and all ledgers compared."""
    began = time.monotonic()
    await rig.have(gateways=2, runners=3)
    await rig.worker()
    await rig.beat()
    driver = rig.drive(Dose(messages=1 << 30, conversations=CONVERSATIONS, rate=rate), seed=seed)
    strikes = Strikes(rig, driver, random.Random(seed))
    loaded = await _load(driver, strikes, seconds, random.Random(seed))
    result = Result(name="soak", sent=len(driver.acked), faults=strikes.counts.total(), wrong=strikes.wrong)
    try:
        result.report = await settle_and_check(rig, seconds=120)
    except TimeoutError as error:
        result.wrong.append(str(error))
    for state in ("unknown", "dead"):
        count = result.report.counts.get(state, 0)
        result.need(not count, f"{count} deliveries are {state}")
    told = {"loaded_seconds": round(loaded, 1), "seconds": round(time.monotonic() - began, 1)}
    return told | told_by(result, driver, strikes, answers=answer_times(driver, rig))


async def _load(driver: Driver, strikes: Strikes, seconds: float, chance: random.Random) -> float:
    """Send and strike for so long; the seconds until the last message was acknowledged."""
    model = strikes.rig.model
    model.default = replace(model.default, first_delay=ANSWER_SECONDS)
    began = time.monotonic()
    sending = asyncio.create_task(driver.run())
    try:
        await asyncio.sleep(min(2.0, seconds / 4))
        names = schedule(chance)
        while time.monotonic() - began < seconds and strikes.counts.total() < MOST_STRIKES and not sending.done():
            await strikes.strike(next(names))
    finally:
        driver.ended = True
        await asyncio.wait([sending], timeout=70)
    await sending
    return time.monotonic() - began


def told_by(result: Result, driver: Driver, strikes: Strikes, *, answers: list[float]) -> dict[str, Any]:
    """The report: everything that the goals ask for, in plain values."""
    acked, found = len(driver.acked), result.report.violations
    attempts = acked + len(driver.refused)
    return {
        "passed": result.passed,
        "acknowledged": acked,
        "lost": sum(len(found.get(name, ())) for name in _LOST),
        "duplicates": sum(len(found.get(name, ())) for name in _TWICE),
        "disorder": sum(len(found.get(name, ())) for name in _ORDER),
        "violations": {name: [*what[:5], len(what)] for name, what in found.items()},
        "wrong": result.wrong,
        "takeover": _times(strikes.taken_over),
        "takeover_after_sigstop": _times(strikes.slept_through),
        "new_runner_first_turn": _times(strikes.first_work),
        "new_runner_first_turn_once_up": _times(strikes.work_once_up),
        "exit_after_sigterm": _times(strikes.exits),
        "first_ack_after_postgres": _times(strikes.reopened),
        "acknowledged_within": _times(driver.waits),
        "answered_within": _times(answers),
        "availability": {
            "first_try": _share(driver.first, acked),
            "within_1_s": _share(sum(wait <= 1.0 for wait in driver.waits), acked),
            "within_5_s": _share(sum(wait <= 5.0 for wait in driver.waits), acked),
            "after_retry": _share(acked, len(driver.tried)),
            "requests_refused": _share(len(driver.refused), attempts),
            "passed_on_to_another_gateway": driver.passed_on,
        },
        "errors": dict(driver.refusals),
        "slower_than_1_s": dict(driver.slow),
        "answered_after_10_s": dict(_late(driver, strikes)),
        "strikes": dict(strikes.counts),
        "counts": result.report.counts,
    }


def _late(driver: Driver, strikes: Strikes) -> Counter[str]:
    """Answers that took more than ten seconds, by the strike amid which their message was acknowledged."""
    seen: dict[str, float] = {}
    for shown in strikes.rig.program.seen:
        for key in shown.answers:
            seen.setdefault(key, shown.at)
    late = (item for item in driver.acked if seen.get(item.key, item.at) - item.at > 10.0)
    return Counter(strikes.during(item.at) for item in late)


def _times(seconds: list[float]) -> dict[str, float]:
    return {
        "n": len(seconds),
        "p50": quantile(seconds, 0.5),
        "p95": quantile(seconds, 0.95),
        "max": round(max(seconds, default=0.0), 3),
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
