"""Every kind of process is replaced in turn under load, then the servers: nobody notices but for a moment's wait."""

import asyncio

from tests.faults.outcome import Dose, Result, spread
from tests.faults.pages import Page, check_pages
from tests.faults.reading import settle_and_check
from tests.faults.rig import Rig, Stack
from tests.faults.striking import Strikes

_ENOUGH = 400
"""More than a page says before everything is replaced."""


async def rolling(stack: Stack, *, rounds: int = 2, rate: float = 25.0, pages: int = 6) -> Result:
    """Gateways, runners, worker and beat, so often; PostgreSQL and Valkey in order at the end."""
    result = Result(name="rolling restart of everything")
    async with Rig(stack) as rig:
        await rig.have(gateways=2, runners=2)
        await rig.worker()
        await rig.beat()
        driver = rig.drive(Dose(messages=1 << 30, rate=rate))
        strikes = Strikes(rig, driver)
        sending = asyncio.create_task(driver.run())
        visitors = [Page(rig, ("ws", "sse")[number % 2], number) for number in range(pages)]
        talking = [asyncio.create_task(_talk(page)) for page in visitors]
        for _ in range(rounds):
            for name in ("roll gateway", "roll runner", "roll worker", "roll beat"):
                await strikes.strike(name)
        result.need(not driver.refused, f"webhooks were answered {dict(driver.refusals)} while processes were replaced")
        _stop(visitors)
        await asyncio.gather(*talking)
        broken = sum(page.broken for page in visitors)
        result.need(not broken, f"{broken} streams ended in the middle")
        await strikes.restart_servers()
        driver.ended = True
        await sending
        result.report = await settle_and_check(rig, seconds=90)
        shown = await check_pages(rig, visitors)
    result.need(shown.clean, f"pages: {shown.json()}")
    result.wrong += strikes.wrong
    result.sent = len(driver.acked) + sum(len(set(page.acked)) for page in visitors)
    result.faults = strikes.counts.total()
    result.figures |= {"returns": sum(page.returns for page in visitors), "refused": len(driver.refused)}
    result.figures |= spread("exit", strikes.exits) | spread("new_runner_first_turn", strikes.first_work)
    result.figures |= spread("acknowledged", driver.waits)
    return result.done()


async def _talk(page: Page) -> None:
    await page.talk([f"{number} tell me [[normal chunks=40 delay=0.04]]" for number in range(_ENOUGH)])


def _stop(visitors: list[Page]) -> None:
    """Each page ends when what it said last is answered."""
    for page in visitors:
        page.ended = True
