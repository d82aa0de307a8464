"""Lease due turns for this process: at once where a session is known to wait, by polling for everything else."""

import asyncio
import time
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from hub.ledger.claim import Claimed, Claimer
from hub.pipeline import crash
from hub.pipeline.keeping import AWAY

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.25
ANYONES_SECONDS = 0.25
"""Work due for this long is anyone's, whoever was preferred for it."""
_CLAIM_AT_ONCE = 64
_MOST_POKED = 10_000
_SHORT_SECONDS = 30.0
"""For so long after a session was not to be had, each slot that is freed is offered to one that waits."""


class Claiming:
    """The loop that claims. `room` says how many more turns may run here, `over` whether none are to be claimed."""

    def __init__(
        self,
        claimer: Claimer,
        *,
        room: Callable[[], int],
        over: Callable[[], bool],
        begin: Callable[[Claimed], None],
    ) -> None:
        self._claimer, self._room, self._over, self._begin = claimer, room, over, begin
        self._poked: set[UUID] = set()
        self._freed: set[UUID] = set()
        self._short_until = 0.0
        self._wake = asyncio.Event()
        self.offer: Callable[[UUID], None] = self.poke
        """Gets each session that waited for a slot which is free now: here or elsewhere."""

    def poke(self, session_id: UUID) -> None:
        """A session has become due; claim it without waiting for the poll."""
        if len(self._poked) < _MOST_POKED:
            self._poked.add(session_id)
        self._wake.set()

    def freed(self, tenant_id: UUID, *, crowded: bool) -> None:
        """A turn of the tenant has ended; `crowded`: it had no free slot until then."""
        if crowded or time.monotonic() < self._short_until:
            self._freed.add(tenant_id)
            self._wake.set()

    def wake(self) -> None:
        """Look again whether it is over."""
        self._wake.set()

    async def claiming(self) -> None:
        """Claim until it is over."""
        polled = 0.0
        while not self._over():
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._offer_freed()
                await self._claim_poked()
                if time.monotonic() - polled >= POLL_SECONDS:
                    polled = time.monotonic()
                    if await self._claim(None):
                        polled = 0.0
                        self._wake.set()
            except AWAY as error:
                log.warning("claim_failed", reason=type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)
            except Exception:  # this loop must not end while the process lives
                log.exception("claim_failed_unexpectedly")
                await asyncio.sleep(POLL_SECONDS)

    async def _offer_freed(self) -> None:
        if not self._freed:
            return
        freed, self._freed = self._freed, set()
        for session_id in await self._claimer.waiting(freed):
            self.offer(session_id)

    async def _claim_poked(self) -> None:
        while self._poked and not self._over():
            batch = [self._poked.pop() for _ in range(min(len(self._poked), _CLAIM_AT_ONCE))]
            try:
                await self._claim(batch)
            except AWAY:
                self._poked.update(batch)
                raise

    async def _claim(self, sessions: Sequence[UUID] | None) -> bool:
        """Claim and begin; True when there may be more at once."""
        room = min(self._room(), _CLAIM_AT_ONCE)
        if room <= 0 or self._over():
            return False
        age = ANYONES_SECONDS if sessions is None else 0.0
        claimed = await self._claimer.claim(limit=room, sessions=sessions, older_than=age)
        crash.point("claim.after_commit")
        if sessions is not None and len(claimed) < len(sessions):  # somebody else has it, or its tenant no free slot
            self._short_until = time.monotonic() + _SHORT_SECONDS
        for item in claimed:
            self._begin(item)
        return len(claimed) == room
