"""The outside world that writes: conversations that wait for each acknowledgement, and repeat what was not answered."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.faults.rig import Node, Rig


@dataclass(frozen=True, slots=True)
class Acked:
    """A message that some gateway answered with 2xx; the list of these is in the order of the answers."""

    conversation: str
    key: str
    at: float


@dataclass(slots=True)
class Driver:
    """Sends `messages` over `conversations` at about `rate` a second. Equal seeds make equal histories."""

    rig: Rig
    messages: int
    conversations: int = 40
    rate: float = 30.0
    seed: int = 1
    duplicates: float = 0.0
    """The share of messages that are sent again, at the same time or later."""
    scattered: bool = False
    """A conversation does not wait for its acknowledgements, so that messages overtake each other."""
    prefix: str = "c"
    acked: list[Acked] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    refused: list[int] = field(default_factory=list)
    passed_on: int = 0
    """Requests that a gateway gave no answer to and another one was asked."""
    repeats: int = 0
    waits: list[float] = field(default_factory=list)
    first: int = 0
    """How many were acknowledged at their first attempt."""
    label: str = ""
    """What happens now; refusals are counted by it."""
    refusals: Counter[str] = field(default_factory=Counter)
    slow: Counter[str] = field(default_factory=Counter)
    """Acknowledgements that took more than a second, by what happened then."""
    ended: bool = False
    """Set to say nothing more."""
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def run(self) -> None:
        """Send everything; returns when each message is acknowledged."""
        share, rest = divmod(self.messages, self.conversations)
        async with asyncio.TaskGroup() as tasks:
            for index in range(self.conversations):
                count = share + (index < rest)
                work = self._scatter if self.scattered else self._converse
                tasks.create_task(work(f"{self.prefix}{index}", count))

    async def _converse(self, conversation: str, count: int) -> None:
        step = self.conversations / self.rate
        await asyncio.sleep(self._random.random() * step)
        due = time.monotonic()
        for number in range(count):
            if self.ended:
                return
            await self._message(conversation, number)
            due = max(due + step, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _scatter(self, conversation: str, count: int) -> None:
        step = self.conversations / self.rate
        order = list(range(count))
        for start in range(0, count, 8):
            part = order[start : start + 8]
            self._random.shuffle(part)
            order[start : start + 8] = part
        async with asyncio.TaskGroup() as tasks:
            for number in order:
                tasks.create_task(self._message(conversation, number))
                await asyncio.sleep(step * self._random.uniform(0.2, 1.8))

    async def _message(self, conversation: str, number: int) -> None:
        key = f"{conversation}-{number}"
        copies = self._random.randint(1, 4) if self._random.random() < self.duplicates else 0
        self.repeats += copies
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.say(conversation, key))
            for _ in range(copies):
                tasks.create_task(self._again(conversation, key))

    async def _again(self, conversation: str, key: str) -> None:
        await asyncio.sleep(self._random.random() * 0.3)
        body, headers = self.request(conversation, key)
        await self.rig.post(self._gateway(), body, headers)

    async def say(self, conversation: str, key: str, *, seconds: float = 60.0) -> None:
        """Send one message until it is acknowledged, as platforms do."""
        self.tried.add(key)
        began, label, tries = time.monotonic(), self.label, 0
        while time.monotonic() - began < seconds:
            tries += 1
            if self.rig.gateways():
                body, headers = self.request(conversation, key)
                status = await self._through(body, headers)
                if 200 <= status < 300:
                    self.first += tries == 1
                    self.waits.append(time.monotonic() - began)
                    if self.waits[-1] > 1.0:
                        self.slow[label or self.label or "nothing"] += 1
                    self.acked.append(Acked(conversation, key, time.monotonic()))
                    return
                self.refused.append(status)
                self.refusals[f"{label or self.label or 'nothing'}: {status or 'no answer'}"] += 1
            await asyncio.sleep(0.1)
        raise TimeoutError(f"{key} was never acknowledged; statuses {self.refused[-5:]}")

    async def _through(self, body: bytes, headers: dict[str, str]) -> int:
        """As a balancer asks: who gives no answer is asked no more, and another gateway is (see `ingress.yaml`)."""
        first = self._gateway()
        status = await self.rig.post(first, body, headers)
        others = [node for node in self.rig.gateways() if node is not first]
        if status or not others:
            return status
        self.passed_on += 1
        return await self.rig.post(self._random.choice(others), body, headers)

    def request(self, conversation: str, key: str) -> tuple[bytes, dict[str, str]]:
        """The signed request of a message."""
        data = {"conversation": conversation, "sender": f"u-{conversation}", "id": key, "text": f"say {key}"}
        body = json.dumps({"type": "message", "data": data}).encode()
        return body, self.rig.program.sign(body, now=time.time(), headers={"webhook-id": f"msg_{key}"})

    def _gateway(self) -> Node:
        return self._random.choice(self.rig.gateways() or self.rig.nodes)
