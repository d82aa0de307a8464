"""What strikes a hub at work, one process or server at a time, and what each strike shows."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import redis

from tests.faults.deaths import takeover
from tests.faults.driver import Driver
from tests.faults.rig import LEASE_SECONDS, Node, Rig

_TAKEN = "SELECT 1 FROM session s JOIN worker w ON w.id = s.lease_owner WHERE w.pid = %s LIMIT 1"
_BALANCER_SECONDS = 1.0
"""How long a balancer goes on asking a process that was told to end."""
_END_SECONDS = 5.0 + 3.0 + 5.0
"""HUB_DRAIN of the rig, what a gateway lingers, and five seconds more."""


@dataclass(slots=True)
class Strikes:
    """Strikes against one rig under the load of one driver. Times in seconds."""

    rig: Rig
    driver: Driver
    chance: random.Random = field(default_factory=lambda: random.Random(11))
    counts: Counter[str] = field(default_factory=Counter)
    taken_over: list[float] = field(default_factory=list)
    """After kill -9, for each turn that the dead runner held."""
    slept_through: list[float] = field(default_factory=list)
    """After SIGSTOP, likewise: a lease and a poll."""
    first_work: list[float] = field(default_factory=list)
    """From a new runner's start, the process included, to its first turn."""
    work_once_up: list[float] = field(default_factory=list)
    """From the moment it is ready."""
    exits: list[float] = field(default_factory=list)
    """From SIGTERM to the end of a process."""
    reopened: list[float] = field(default_factory=list)
    """From a restarted database's return to the next acknowledgement."""
    log: list[tuple[float, str]] = field(default_factory=list)
    """When each strike began, on the monotonic clock."""
    wrong: list[str] = field(default_factory=list)

    @property
    def all(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Each kind by its name."""
        return {
            "kill runner": self.kill_runner,
            "kill gateway": self.kill_gateway,
            "pause runner": self.pause_runner,
            "restart postgres": self.restart_postgres,
            "flush valkey": self.flush_valkey,
            "kill valkey": self.kill_valkey,
            "roll runner": self.roll_runner,
            "roll gateway": self.roll_gateway,
            "roll worker": self.roll_worker,
            "roll beat": self.roll_beat,
        }

    async def strike(self, name: str) -> None:
        """Do it, and say meanwhile what is done."""
        self.driver.label = name
        self.log.append((time.monotonic(), name))
        await self.all[name]()
        self.counts[name] += 1
        self.driver.label = ""

    def during(self, moment: float) -> str:
        """The strike that had begun last."""
        return next((name for began, name in reversed(self.log) if began <= moment), "nothing")

    async def kill_runner(self) -> None:
        """kill -9 of one that holds turns; its successor is up before, so that strength stays the same."""
        await self._new_runner()
        victim = self.chance.choice(self.rig.runners())
        self.taken_over += await takeover(self.rig, victim, victim.kill)

    async def kill_gateway(self) -> None:
        """kill -9 while others serve."""
        await self.rig.gateway()
        await asyncio.to_thread(self.chance.choice(self.rig.gateways()).kill)

    async def pause_runner(self) -> None:
        """SIGSTOP for twice a lease, then SIGCONT."""
        victim, began = self.chance.choice(self.rig.runners()), time.monotonic()
        self.slept_through += await takeover(self.rig, victim, victim.pause)
        await asyncio.sleep(max(0.0, 2 * LEASE_SECONDS - (time.monotonic() - began)))
        victim.resume()
        await asyncio.sleep(0.5)
        if not victim.alive:
            self.wrong.append(f"{victim.name} ended after it had slept")

    async def restart_postgres(self) -> None:
        """An immediate stop and a start with recovery."""
        await asyncio.to_thread(self.rig.stack.restart_postgres)
        await self._reopens()

    async def flush_valkey(self) -> None:
        """FLUSHALL."""
        await asyncio.to_thread(_flush, self.rig.stack.layout.redis_url)

    async def kill_valkey(self) -> None:
        """kill -9, a second without, a new empty one."""
        await asyncio.to_thread(self.rig.stack.restart_valkey, down=1.0)

    async def roll_runner(self) -> None:
        """Each runner is replaced: the new one first, then SIGTERM."""
        for old in self.rig.runners():
            await self._new_runner()
            await self._retire(old)

    async def roll_gateway(self) -> None:
        """Each gateway likewise; a balancer asks it for another moment."""
        for old in self.rig.gateways():
            await self.rig.gateway()
            await self._retire(old)

    async def roll_worker(self) -> None:
        """Celery workers likewise."""
        await self._roll_celery("worker", self.rig.worker)

    async def roll_beat(self) -> None:
        """And what sends periodic tasks."""
        await self._roll_celery("beat", self.rig.beat)

    async def restart_servers(self) -> None:
        """PostgreSQL, then Valkey, as an operator restarts them."""
        for name in ("postgres", "valkey"):
            self.driver.label = f"ordered restart of {name}"
            await asyncio.to_thread(self.rig.stack.servers.restart, name)
            await self._reopens()
            self.counts[self.driver.label] += 1
        self.driver.label = ""

    async def _roll_celery(self, role: str, start: Callable[[], Awaitable[Node]]) -> None:
        for old in [node for node in self.rig.nodes if node.name.startswith(role) and node.alive]:
            new = await start()
            await self._retire(old)
            if not new.alive:
                self.wrong.append(f"{new.name} did not stay")

    async def _new_runner(self) -> None:
        began = time.monotonic()
        node = await self.rig.runner()
        ready = time.monotonic()
        while not await self.rig.rows(_TAKEN, node.process.pid):
            if time.monotonic() - ready > 10.0:
                self.wrong.append(f"{node.name} took no turn within 10 s")
                break
            await asyncio.sleep(0.02)
        self.first_work.append(time.monotonic() - began)
        self.work_once_up.append(time.monotonic() - ready)

    async def _retire(self, node: Node) -> None:
        began = time.monotonic()
        node.process.terminate()
        await asyncio.sleep(_BALANCER_SECONDS)
        node.leaving = True
        while node.alive and time.monotonic() - began < _END_SECONDS:
            await asyncio.sleep(0.05)
        self.exits.append(time.monotonic() - began)
        if node.alive:
            self.wrong.append(f"{node.name} did not end within {_END_SECONDS:.0f} s of SIGTERM")
            await asyncio.to_thread(node.kill)
        elif node.process.returncode != 0:
            self.wrong.append(f"{node.name} ended with {node.process.returncode}")

    async def _reopens(self) -> None:
        up, count = time.monotonic(), len(self.driver.acked)
        while len(self.driver.acked) == count and time.monotonic() - up < 20:
            await asyncio.sleep(0.02)
        self.reopened.append(time.monotonic() - up)


def _flush(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()
