"""A process ends between two rounds of a turn: the finished round is not asked again, its tool not run again."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.faults.models import say
from tests.faults.outcome import Dose, Result
from tests.faults.reading import settle_and_check
from tests.faults.rig import Rig, Stack, wait_until
from tests.support.model_plans import Plan, text_of

PLACES: Mapping[str, tuple[int, int]] = {
    "round.before_keep:1": (2, 1),
    "round.kept:1": (1, 1),
    "round.before_keep:2": (1, 1),
    "round.kept:2": (1, 1),
    "turn.before_commit:1": (1, 2),
}
"""How often each round is asked in all: what was not kept is asked again, what was is not."""


async def rounds(stack: Stack, *, places: Sequence[str] = tuple(PLACES)) -> Result:
    """Each place once, with a turn of two rounds under way."""
    result = Result(name="process dies between a turn's rounds")
    async with Rig(stack, plan=Plan(kind="echo"), tools=("current_time",)) as rig:
        gateway, driver = await rig.gateway(), rig.drive(Dose(messages=0))
        for number, place in enumerate(places):
            armed = await rig.runner(crash_at=place)
            conversation = f"{driver.prefix}{number}"
            await say(rig, driver, conversation, "0", f"[[tool name=current_time]] at {place}")
            await wait_until(lambda node=armed: not node.alive, seconds=20, what=f"{place} was reached")  # type: ignore[misc]
            result.faults += armed.process.poll() == 137
            healthy = await rig.runner()
            await rig.quiet()
            await asyncio.to_thread(healthy.kill)
            asked = _asked(rig, place)
            result.need(asked == PLACES[place], f"{place}: the rounds were asked {asked} times, not {PLACES[place]}")
            told = [seen for seen in rig.program.seen if seen.conversation == conversation]
            result.need(len(told) == 1 and told[0].text.startswith("The tool said: "), f"{place}: told {told}")
        result.need(gateway.alive, "the gateway ended")
        result.sent = len(driver.acked)
        result.report = await settle_and_check(rig)
    return result.done()


def _asked(rig: Rig, place: str) -> tuple[int, int]:
    """How often the model was asked about this place without a tool's result, and with one."""
    found = Counter(
        any(message["role"] == "tool" for message in call.body["messages"])
        for call in rig.model.calls
        if any(place in text_of(message.get("content") or "") for message in call.body["messages"])
    )
    return found[False], found[True]
