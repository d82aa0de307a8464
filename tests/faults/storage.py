"""PostgreSQL and Valkey that end, lose everything or come back while messages flow."""

import asyncio
import time

import redis

from tests.faults.driver import Driver
from tests.faults.outcome import GIVEN_UP, Dose, Result, spread
from tests.faults.reading import settle_and_check
from tests.faults.rig import Rig


async def restart_postgres(rig: Rig, dose: Dose) -> Result:
    """Immediate stops under load: webhooks fail only while it is away, and nothing that was acknowledged is lost."""
    result = Result(name="PostgreSQL immediate restart")
    await rig.have()
    driver = rig.drive(dose)
    sending = asyncio.create_task(driver.run())
    away, back = [], []
    for _ in range(dose.faults):
        await asyncio.sleep(1.5)
        began = time.monotonic()
        await asyncio.to_thread(rig.stack.restart_postgres)
        away.append(time.monotonic() - began)
        up = time.monotonic()
        count = len(driver.acked)
        while len(driver.acked) == count and not sending.done() and time.monotonic() - up < GIVEN_UP:
            await asyncio.sleep(0.02)
        back.append(time.monotonic() - up)
    await sending
    result.sent, result.faults = len(driver.acked), dose.faults
    result.report = await settle_and_check(rig, seconds=90)
    result.figures |= spread("away", away) | spread("first_ack_after", back)
    result.figures["answers_503_or_none"] = len(driver.refused)
    wrong = {status for status in driver.refused if status not in (0, 503)}
    result.need(not wrong, f"webhooks were answered {sorted(wrong)}")
    result.within(dose, 10.0, back, "the next accepted message")
    result.need(len(rig.runners()) and len(rig.gateways()), "a process ended")
    return result.done()


async def lose_valkey(rig: Rig, dose: Dose) -> Result:
    """FLUSHALL and a kill, again and again: turns go on by the poll, memory is read from PostgreSQL."""
    result = Result(name="Valkey flushed, killed and restarted")
    await rig.have()
    driver = rig.drive(dose)
    sending = asyncio.create_task(driver.run())
    for number in range(dose.faults):
        await asyncio.sleep(1.0)
        if number % 2 == 0:
            await asyncio.to_thread(_flush, rig.stack.layout.redis_url)
        else:
            await asyncio.to_thread(rig.stack.restart_valkey, down=1.0)
        result.faults += 1
    await sending
    result.sent = len(driver.acked)
    result.report = await settle_and_check(rig)
    waits = answer_times(driver, rig)
    result.figures |= spread("answer", waits)
    result.need(not driver.refused, f"webhooks were answered {sorted(set(driver.refused))}")
    result.need(len(rig.runners()) and len(rig.gateways()), "a process ended")
    await _works_again(rig, result)
    return result.done()


async def _works_again(rig: Rig, result: Result) -> None:
    """After the faults one more message is answered, and soon: the wake-up works again."""
    driver = rig.drive(Dose(messages=1, conversations=1))
    began = time.monotonic()
    await driver.run()
    await rig.quiet(seconds=20)
    result.figures["one_more"] = round(time.monotonic() - began, 3)


def _flush(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()


def answer_times(driver: Driver, rig: Rig) -> list[float]:
    """Seconds from each acknowledgement to its first sight on the platform."""
    at = {item.key: item.at for item in driver.acked}
    found: dict[str, float] = {}
    for seen in rig.program.seen:
        for key in seen.answers:
            if key in at:
                found.setdefault(key, max(0.0, seen.at - at[key]))
    return list(found.values())
