"""A model server that misbehaves in every way we know: each turn ends in a good answer or a polite one."""

import asyncio
import json
import time

from tests.faults.driver import Acked, Driver
from tests.faults.outcome import Dose, Result, spread
from tests.faults.reading import settle_and_check
from tests.faults.rig import Rig, Stack

MATRIX: dict[str, str] = {
    "slow": "[[slow chunks=10]]",
    "429 once": "[[429 retry_after=1 times=1]]",
    "429 always": "[[429]]",
    "500 once": "[[500 times=1]]",
    "500 always": "[[500]]",
    "401": "[[401]]",
    "context overflow": "[[overflow]]",
    "cut at once": "[[cut after=0 times=1]]",
    "cut mid-stream": "[[cut after=10 times=1]]",
    "cut always": "[[cut after=5]]",
    "bad JSON once": "[[bad_json times=1]]",
    "bad JSON always": "[[bad_json]]",
    "line of 1 MB": "[[long_line]]",
    "tool call": "[[tool name=current_time]]",
    "unknown tool": "[[tool name=no_such_tool]]",
    "broken tool arguments": '[[tool name=current_time args={"a":]]',
    "empty answer": "[[text]]",
    "endless": "[[endless]]",
}
"""What a person writes, and so what the model server does."""
HANG = {"hang": "[[hang]]"}
GOOD = ("slow", "429 once", "500 once", "cut mid-stream", "cut at once", "bad JSON once", "tool call")
"""Those that must end in the model's own answer."""
_SECRETS = ("SECRET", "Traceback", "provider detail", "psycopg", "aiohttp")


async def bad_model(rig: Rig, dose: Dose) -> Result:
    """The matrix, each in a conversation of its own: an answer or a polite word, and the session is free afterwards.

    What must end well goes one by one, since many faults at once rightly open the provider's circuit for everybody.
    """
    result = Result(name="model server misbehaves")
    await rig.have()
    driver = rig.drive(Dose(messages=0))
    for round_ in range(dose.faults):
        matrix = MATRIX | (HANG if dose.faults > 1 else {})
        names = {name: f"{driver.prefix}m{round_}-{name.replace(' ', '-')}" for name in matrix}
        for name in GOOD:
            await say(rig, driver, names[name], "0", matrix[name])
            await rig.quiet(seconds=30)
        async with asyncio.TaskGroup() as tasks:
            for name in set(matrix) - set(GOOD):
                tasks.create_task(say(rig, driver, names[name], "0", matrix[name]))
        await rig.quiet(seconds=150)
        free = await _ask_again(rig, driver, list(names.values()))
        for name, conversation in names.items():
            _judge(rig, result, name, conversation)
            result.need(conversation in free, f"{name}: the session is not free afterwards")
        result.faults += len(names)
    result.sent = len(driver.acked)
    result.report = await settle_and_check(rig)
    return result.done()


async def hanging_model(stack: Stack, *, messages: int = 40) -> Result:
    """A model that takes the request and never says a byte: a polite word within its limits, and a free session."""
    result = Result(name="model server hangs")
    async with Rig(stack) as rig:
        await rig.have()
        driver = rig.drive(Dose(messages=0))
        names = [f"{driver.prefix}h{number}" for number in range(messages)]
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(say(rig, driver, name, "0", HANG["hang"]))
        await rig.quiet(seconds=200)
        first = {name: next((seen.at for seen in rig.program.seen if seen.conversation == name), 0.0) for name in names}
        free = await _ask_again(rig, driver, names)
        for name in names:
            _judge(rig, result, "hang", name)
        result.need(len(free) == messages, f"{messages - len(free)} sessions are not free afterwards")
        result.report = await settle_and_check(rig)
    result.sent, result.faults = len(driver.acked), messages
    result.figures = spread("polite_word", [at - began for at in first.values() if at])
    result.need(result.figures["polite_word_n"] == messages, "somebody was told nothing")
    result.need(result.figures.get("polite_word_max", 0.0) <= 125.0, "longer than a turn may take")
    return result.done()


async def _ask_again(rig: Rig, driver: Driver, conversations: list[str], *, seconds: float = 45.0) -> set[str]:
    """Ask until the model's own answer comes, which it does when the provider's circuit closes; who got one."""
    free: set[str] = set()
    until = time.monotonic() + seconds
    number = 0
    while len(free) < len(conversations) and time.monotonic() < until:
        number += 1
        for conversation in conversations:
            if conversation not in free:
                await say(rig, driver, conversation, str(number), "are you there [[echo]]")
        await rig.quiet(seconds=30)
        free |= {seen.conversation for seen in rig.program.seen if "are you there" in seen.text}
        await asyncio.sleep(0.0 if len(free) == len(conversations) else 1.0)
    return free


async def say(rig: Rig, driver: Driver, conversation: str, number: str, text: str) -> None:
    """One message, once; who is not acknowledged is not asked for."""
    key = f"{conversation}-{number}"
    data = {"conversation": conversation, "sender": f"u-{conversation}", "id": key, "text": text}
    body = json.dumps({"type": "message", "data": data}).encode()
    driver.tried.add(key)
    headers = rig.program.sign(body, now=time.time(), headers={"webhook-id": f"msg_{key}"})
    status = await rig.post(rig.gateways()[0], body, headers)
    if status == 200:
        driver.acked.append(Acked(conversation, key, time.monotonic()))


def _judge(rig: Rig, result: Result, name: str, conversation: str) -> None:
    shown = [seen for seen in rig.program.seen if seen.conversation == conversation]
    first = "".join(seen.text for seen in shown if seen.answers == (f"{conversation}-0",))
    result.need(first.strip(), f"{name}: no answer")
    result.need(not any(word in first for word in _SECRETS), f"{name}: the answer tells what went wrong inside")
    polite = first.startswith(("Sorry", "抱歉"))
    if name in GOOD:
        result.need(not polite, f"{name}: an apology instead of an answer: {first[:80]}")
    result.figures[f"chars {name}"] = len(first)
