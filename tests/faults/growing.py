"""Answers that grow on the platform: the process ends while one is shown, another goes on with it or begins anew."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from tests.faults.deaths import GROWING
from tests.faults.ledgers import check
from tests.faults.outcome import Result
from tests.faults.reading import read
from tests.faults.rig import Rig, Stack, wait_until
from tests.support.model_plans import Plan
from tests.support.platforms.slack import FakeSlack

CHANNELS = 3


async def growing(stack: Stack, *, points: Sequence[str] = GROWING) -> Result:
    """Each point once: whatever was visible, the whole answer is in the end, and what may be twice is flagged."""
    result = Result(name="process dies while its answer grows")
    slack = FakeSlack()
    plan = Plan(kind="normal", chunks=60, delay=0.05)
    async with Rig(stack, plan=plan, platforms={"slack": slack}) as rig:
        gateway = await rig.gateway(role="gateway")
        for number, point in enumerate(points):
            armed = await rig.runner(crash_at=f"{point}:1")
            channels = [f"D{number}{index}" for index in range(CHANNELS)]
            for index, channel in enumerate(channels):
                body = slack.said("tell me a lot", number=10 * number + index, conversation=channel, sender="U7")
                status, _ = await slack.deliver(f"http://127.0.0.1:{gateway.port}{rig.path('slack')}", body)
                result.need(status == 200, f"{point}: a webhook was answered {status}")
            await wait_until(lambda node=armed: not node.alive, seconds=20, what=f"{point} was reached")  # type: ignore[misc]
            result.faults += armed.process.poll() == 137
            healthy = await rig.runner()
            await rig.quiet(seconds=90)
            await asyncio.to_thread(healthy.kill)
            result.sent += len(channels)
            await _judge(rig, slack, result, point, channels)
        # What people saw is judged channel by channel, so the ledgers are compared without it.
        found = await read(rig, names=("slack",))
        result.report = check(replace(found, pushes=False, shown=(), tried={row.key for row in found.inbox}))
    return result.done()


async def _judge(rig: Rig, slack: FakeSlack, result: Result, point: str, channels: Sequence[str]) -> None:
    found = await read(rig, names=("slack",))
    unknown = sum(row.status in ("unknown", "dead") for row in found.deliveries)
    whole = "".join(f"word{index} " for index in range(60)).strip()
    extra = 0
    for channel in channels:
        texts = [text.strip() for text in slack.shown(channel)]
        result.need(whole in texts, f"{point}: {channel} does not show the whole answer: {[t[-40:] for t in texts]}")
        extra += max(0, len(texts) - 1)
    result.figures[f"twice at {point}"] = extra
    result.need(extra <= unknown, f"{point}: {extra} messages too many, {unknown} flagged")
