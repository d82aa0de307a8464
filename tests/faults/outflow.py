"""Platforms that are slow, refuse, or do what they were asked and never say so."""

import asyncio
import random
from typing import Any

from tests.faults.ledgers import Sent
from tests.faults.outcome import Dose, Result, spread
from tests.faults.reading import read, settle_and_check
from tests.faults.rig import Rig, Stack
from tests.faults.storage import answer_times
from tests.support.platforms.telegram import FakeTelegram

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


async def silent_platform(stack: Stack, *, messages: int = 25) -> Result:
    """The platform shows the message and never answers: sent again under its key, or never again and called unknown."""
    result = Result(name="platform shows the message and never answers")
    telegram = FakeTelegram()
    async with Rig(stack, platforms={"telegram": telegram}) as rig:
        await rig.have()
        telegram.fail(hang="after", method="sendMessage", times=messages)
        rig.program.fail(hang="after", times=messages)
        driver = rig.drive(Dose(messages=messages, conversations=messages, rate=40.0))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(driver.run())
            tasks.create_task(_ask(rig, telegram, messages, result, first=0))
        result.report = await settle_and_check(rig, seconds=150)
        unknown = await _sent(rig)
        await _ask(rig, telegram, messages, result, first=messages)
        await rig.quiet(seconds=60)
        after = await _sent(rig)
    result.sent, result.faults = len(driver.acked) + 2 * messages, 2 * messages
    again = result.report.counts["repeated_sends"]
    result.need(again == messages, f"{again} of {messages} were sent again under their key")
    states = {(row.status, row.attempts) for row in unknown}
    result.need(len(unknown) == messages and states == {("unknown", 1)}, f"without a key: {len(unknown)} are {states}")
    for chat in _chats(messages):
        shown = telegram.shown(chat)
        result.need(len(shown) == 2, f"chat {chat} shows {len(shown)} answers to two messages")
    sent = sum(row.status == "sent" for row in after)
    result.need(sent == messages, f"{sent} of {messages} later answers were sent")
    result.figures |= {"unknown, sent once": len(unknown), "repeated under their key": again}
    return result.done()


def _chats(messages: int) -> list[str]:
    return [str(7000 + number) for number in range(messages)]


async def _ask(rig: Rig, telegram: FakeTelegram, messages: int, result: Result, *, first: int) -> None:
    for number, chat in enumerate(_chats(messages), start=first):
        body = telegram.said("say hello", number=number, conversation=chat, sender=chat)
        status, _ = await telegram.deliver(f"http://127.0.0.1:{rig.gateways()[0].port}{rig.path('telegram')}", body)
        result.need(status == 200, f"a webhook was answered {status}")


async def _sent(rig: Rig) -> list[Sent]:
    return list((await read(rig, names=("telegram",))).deliveries)
