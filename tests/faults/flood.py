"""One tenant says a hundred times as much as another: the other one hardly waits longer."""

import asyncio
import time

from tests.faults.driver import Driver
from tests.faults.ledgers import check
from tests.faults.outcome import Dose, Result, quantile
from tests.faults.reading import read, settle_and_check
from tests.faults.rig import Rig, Stack
from tests.faults.storage import answer_times

SHARE = 1.0
"""Messages a second of the quiet tenant."""
TIMES = 100
SECONDS = 30.0
_NOISE = 0.05
"""Seconds by which a short wait may differ on a shared machine without a reason."""


async def flood(stack: Stack, *, seconds: float = SECONDS) -> Result:
    """The quiet tenant's time from acknowledgement to answer, alone and beside a flood of `TIMES` its rate."""
    result = Result(name="one tenant floods")
    async with Rig(stack) as rig, Rig(stack) as noisy:
        await rig.have(gateways=1, runners=2)
        noisy.nodes = rig.nodes  # one hub, two tenants
        try:
            alone = await _quietly(rig, seconds)
            storm = noisy.drive(Dose(messages=1 << 30, conversations=150, rate=SHARE * TIMES))
            storming = asyncio.create_task(storm.run())
            await asyncio.sleep(1.0)
            beside = await _quietly(rig, seconds)
            storm.ended = True
            await storming
            began = time.monotonic()
            await noisy.quiet(seconds=150)
            result.figures["backlog_seconds"] = round(time.monotonic() - began, 1)
        finally:
            noisy.nodes = []
        result.report = await settle_and_check(rig)
        own = await read(noisy, noisy.drivers)
        own.model_calls = None  # it was the quiet one's model that was asked
        storms = check(own)
        result.need(storms.clean, f"the flood's own ledgers: {storms.json()}")
    result.sent, result.faults = len(storm.acked) + len(alone) + len(beside), 1
    before, during = quantile(alone, 0.95), quantile(beside, 0.95)
    result.figures |= {
        "times_its_rate": round(len(storm.acked) / (seconds + 1.0) / SHARE, 1),
        "p95_alone": before,
        "p95_beside": during,
        "ratio": round(during / before, 2) if before else 0.0,
        "n": len(beside),
    }
    result.need(during <= 2 * before + _NOISE, f"p95 went from {before} s to {during} s")
    return result.done()


async def _quietly(rig: Rig, seconds: float) -> list[float]:
    driver: Driver = rig.drive(Dose(messages=round(SHARE * seconds), conversations=6, rate=SHARE))
    await driver.run()
    await asyncio.sleep(1.0)
    return answer_times(driver, rig)
