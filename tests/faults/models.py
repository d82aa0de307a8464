"""A model server that misbehaves in every way we know: each turn ends in a good answer or a polite one."""

import asyncio
import json
import time

from tests.faults.driver import Acked, Driver
from tests.faults.outcome import Dose, Result
from tests.faults.reading import settle_and_check
from tests.faults.rig import Rig

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
    """The matrix, each in a conversation of its own, twice: the session is free for an ordinary message afterwards."""
    result = Result(name="model server misbehaves")
    matrix = MATRIX | (HANG if dose.faults > 1 else {})
    await rig.have()
    driver = rig.drive(Dose(messages=0))
    for round_ in range(dose.faults):
        names = {name: f"{driver.prefix}m{round_}-{name.replace(' ', '-')}" for name in matrix}
        async with asyncio.TaskGroup() as tasks:
            for name, conversation in names.items():
                tasks.create_task(_say(rig, driver, conversation, 0, matrix[name]))
        await rig.quiet(seconds=150)
        async with asyncio.TaskGroup() as tasks:
            for conversation in names.values():
                tasks.create_task(_say(rig, driver, conversation, 1, "are you there [[echo]]"))
        await rig.quiet(seconds=30)
        for name, conversation in names.items():
            _judge(rig, result, name, conversation)
        result.faults += len(names)
    result.sent = len(driver.acked)
    result.report = await settle_and_check(rig)
    return result.done()


async def _say(rig: Rig, driver: Driver, conversation: str, number: int, text: str) -> None:
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
    second = [seen for seen in shown if seen.answers == (f"{conversation}-1",)]
    result.need(first.strip(), f"{name}: no answer")
    result.need(not any(word in first for word in _SECRETS), f"{name}: the answer tells what went wrong inside")
    result.need(second and "are you there" in second[0].text, f"{name}: the session is not free afterwards")
    polite = first.startswith(("Sorry", "抱歉"))
    if name in GOOD:
        result.need(not polite, f"{name}: an apology instead of an answer: {first[:80]}")
    result.figures[f"chars {name}"] = len(first)
