"""Platforms that are slow, refuse, or do what they were asked and never say so."""

import asyncio
import random
from typing import Any

from tests.faults.outcome import Dose, Result, spread
from tests.faults.reading import settle_and_check
from tests.faults.rig import Rig
from tests.faults.storage import answer_times

_FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 429, "retry_after": 1.0},
    {"status": 500},
    {"status": 503},
    {"drop": "before"},
    {"drop": "after"},
    {"garbage": True},
)


async def bad_platform(rig: Rig, dose: Dose) -> Result:
    """429, 5xx and connections that end before or after the effect: each reply is shown once and in order."""
    result = Result(name="platform refuses or falls silent")
    await rig.have()
    driver = rig.drive(dose)
    sending = asyncio.create_task(driver.run())
    chance = random.Random(5)
    for number in range(dose.faults):
        rig.program.fail(**_FAULTS[number % len(_FAULTS)])
        await asyncio.sleep(chance.random() * 0.2)
    if dose.faults >= 100:  # costs the adapter's whole time limit of 20 s
        rig.program.fail(hang="after", times=5)
    await sending
    result.sent, result.faults = len(driver.acked), dose.faults
    result.report = await settle_and_check(rig, seconds=120)
    result.figures |= spread("answer", answer_times(driver, rig))
    result.need(not rig.program.faults, f"{len(rig.program.faults)} faults were never met")
    return result.done()


async def refusing_platform(rig: Rig, dose: Dose) -> Result:
    """A platform that takes no connections for a while: everything waits in order and arrives."""
    result = Result(name="platform takes no connections")
    await rig.have()
    driver = rig.drive(dose)
    sending = asyncio.create_task(driver.run())
    await asyncio.sleep(0.5)
    await rig.program.refuse()
    await asyncio.sleep(2.0)
    await rig.program.listen()
    await sending
    result.sent, result.faults = len(driver.acked), 1
    result.report = await settle_and_check(rig, seconds=120)
    result.figures |= spread("answer", answer_times(driver, rig))
    return result.done()
