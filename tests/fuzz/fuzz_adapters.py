"""Mutates recorded webhooks and shows them to the adapters: only RequestRejected may come out, and quickly.

    python -m tests.fuzz.fuzz_adapters [--cases 200000] [--seed 1] [--slug telegram] [--seconds 600]

Prints one line per adapter and exits with 1 when anything else was raised or a case took over 50 ms of CPU.
"""

import argparse
import json
import random
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from channels_adapters.errors import RequestRejected
from channels_adapters.types import Outcome, WebhookRequest
from tests.conformance import cases

SLOWEST = 0.05
"""Seconds of CPU for one case (`TARGETS.md` R7)."""
SCRAPS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**63, 10**400, "", "x", "\0", "\u202e", "\ud800", "9" * 5000, [], {}, [[]], [None],
    {"id": None}, [{"id": {}}], "<@UBOT>", "<", "&", "@hub_bot", "-1001", "1e999", "NaN",
)  # fmt: skip


@dataclass
class Score:
    """What came of one adapter's cases."""

    slug: str
    cases: int = 0
    refused: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def mutate(body: bytes, dice: random.Random) -> bytes:
    """One changed body: its bytes, or the JSON inside it."""
    if dice.random() < 0.4:
        return _bytes(body, dice)
    try:
        value = json.loads(body)
    except ValueError:
        return _bytes(body, dice)
    for _ in range(dice.randint(1, 3)):
        value = _swap(value, dice)
    return json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")


def _bytes(body: bytes, dice: random.Random) -> bytes:
    data = bytearray(body)
    for _ in range(dice.randint(1, 8)):
        place = dice.randrange(len(data) + 1)
        deed = dice.randrange(4)
        if deed == 0 and place < len(data):
            data[place] = dice.randrange(256)
        elif deed == 1:
            data[place:place] = bytes(dice.randrange(256) for _ in range(dice.randint(1, 9)))
        elif deed == 2:
            del data[place : place + dice.randint(1, 40)]
        else:
            data[place:place] = data[: dice.randint(0, 60)]
    return bytes(data)


def _swap(value: Any, dice: random.Random) -> Any:
    if isinstance(value, dict) and value and dice.random() < 0.85:
        name = dice.choice(sorted(value, key=str))
        deed = dice.random()
        if deed < 0.15:
            return {key: item for key, item in value.items() if key != name}
        if deed < 0.2:
            return {**value, dice.choice(["", "type", "event", "message", "data", "update_id"]): value[name]}
        return {**value, name: _swap(value[name], dice)}
    if isinstance(value, list) and value and dice.random() < 0.7:
        place = dice.randrange(len(value))
        return [*value[:place], _swap(value[place], dice), *value[place + 1 :]]
    return dice.choice(SCRAPS)


def corpus(slug: str) -> list[WebhookRequest]:
    """Authentic requests to begin with."""
    bodies = [item.body for item in cases.inbound(slug)]
    return [cases.request(slug, body) for body in bodies]


def show(adapter: cases.Adapter, request: WebhookRequest) -> bool:
    """Everything that the edge does with a request; False when it was refused."""
    accepted = True
    try:
        adapter.verify(request)
    except RequestRejected:
        accepted = False
    try:
        events = adapter.parse(request)
    except RequestRejected:
        return False
    for event in events:
        key = adapter.dedupe_key(event, request)
        if not isinstance(key, str):
            raise TypeError("a dedupe key is a text")
        adapter.identify(event)
    response = adapter.acknowledge(request, events, [Outcome.NEW] * len(events))
    if not 200 <= response.status < 300:
        raise ValueError("an authentic request is acknowledged")
    return accepted


def mutations(slug: str, count: int, dice: random.Random) -> Iterator[WebhookRequest]:
    """Requests that are near to real ones."""
    known = corpus(slug)
    for _ in range(count):
        request = dice.choice(known)
        headers = dict(request.headers)
        if dice.random() < 0.2:
            name = dice.choice(sorted(headers))
            headers[name] = _bytes(headers[name].encode(), dice).decode("latin-1")
        yield replace(request, body=mutate(request.body, dice), headers=headers)


def run(slug: str, count: int, *, seed: int, seconds: float) -> Score:
    """Show `count` mutations to one adapter, for at most `seconds`."""
    score, adapter, dice = Score(slug), cases.adapter(slug), random.Random(seed)
    end = time.monotonic() + seconds
    for request in mutations(slug, count, dice):
        begun = time.thread_time()
        try:
            score.refused += not show(adapter, request)
        except Exception:  # noqa: BLE001 (finding what is raised is the purpose)
            score.failures.append(f"{request.body!r}\n{traceback.format_exc()}")
        score.slowest = max(score.slowest, time.thread_time() - begun)
        score.cases += 1
        if time.monotonic() > end:
            break
    return score


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--cases", type=int, default=200_000)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--slug", action="append", choices=cases.PUSHED)
    words.add_argument("--seconds", type=float, default=600.0, help="per adapter")
    chosen = words.parse_args()
    bad = False
    for slug in chosen.slug or cases.PUSHED:
        score = run(slug, chosen.cases, seed=chosen.seed, seconds=chosen.seconds)
        wrong = len(score.failures)
        print(f"{slug}: {score.cases} cases, {score.refused} refused, {wrong} failures, slowest {score.slowest:.4f} s")
        for failure in score.failures[:5]:
            print(failure)
        bad |= bool(wrong) or score.slowest > SLOWEST or score.cases < chosen.cases
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
