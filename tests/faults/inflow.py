"""What platforms send that they should not: everything twice, in the wrong order, and texts that no table can hold."""

import asyncio
import json
import time

from hub.pipeline.bodies import MAX_TEXT
from tests.faults.outcome import Dose, Result
from tests.faults.reading import settle_and_check
from tests.faults.rig import Rig


async def repeated_and_scattered(rig: Rig, dose: Dose) -> Result:
    """A third of the webhooks are duplicates, and they overtake each other: one turn and one reply per message."""
    result = Result(name="duplicate and reordered webhooks")
    await rig.have()
    driver = rig.drive(dose, duplicates=0.25, scattered=True, seed=dose.messages)
    await driver.run()
    result.sent = len(driver.acked) + driver.repeats
    result.report = await settle_and_check(rig, seconds=120)
    result.figures |= {"messages": len(driver.acked), "duplicates": driver.repeats}
    result.need(not driver.refused, f"webhooks were answered {sorted(set(driver.refused))}")
    result.need(len(driver.acked) == dose.messages, "not every message was acknowledged")
    answered = {key for seen in rig.program.seen for key in seen.answers} & driver.tried
    result.need(len(answered) == dose.messages, f"{len(answered)} of {dose.messages} messages were answered")
    return result.done()


POISON = {
    "nul": ("text with \x00 inside", {200}),
    "surrogate": ("text with \ud800 inside", {200, 400}),
    "nul name": ("\x00", {200}),
    "too long": ("x" * (MAX_TEXT + 1), {200, 400, 413}),
    "far too long": ("x" * (20 << 20), {0, 413}),
}


async def poison(rig: Rig, dose: Dose) -> Result:
    """Rows that nothing can store, among good ones in the same batches: they fail alone, and nothing answers 500."""
    result = Result(name="poison rows")
    await rig.have()
    gateway = rig.gateways()[0]
    driver = rig.drive(dose)
    sending = asyncio.create_task(driver.run())
    for round_ in range(dose.faults):
        for name, (text, allowed) in POISON.items():
            if name == "far too long" and round_:
                continue
            key = f"poison-{name.replace(' ', '-')}-{round_}"
            driver.tried.add(key)
            status = await rig.post(gateway, *_signed(rig, key, text, nul="nul" in name))
            result.need(status in allowed, f"{name}: answered {status}")
            result.faults += 1
    await sending
    result.sent = len(driver.acked)
    result.report = await settle_and_check(rig)
    result.need(gateway.alive, "the gateway ended")
    result.need(not driver.refused, f"good webhooks were answered {sorted(set(driver.refused))}")
    result.need("webhook_failed" not in gateway.log.read_text(errors="replace"), "the door caught an error")
    return result.done()


def _signed(rig: Rig, key: str, text: str, *, nul: bool) -> tuple[bytes, dict[str, str]]:
    data = {"conversation": "poison", "sender": "u\x00p" if nul else "up", "id": key, "text": text}
    body = json.dumps({"type": "message", "data": {**data, "sender_name": text[:50]}}).encode()
    return body, rig.program.sign(body, now=time.time(), headers={"webhook-id": f"msg_{key}"})
