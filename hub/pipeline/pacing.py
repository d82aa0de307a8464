"""Keep to a platform's rates: per connection and per conversation, as the adapter declares them.

Each process keeps its own share; a platform's own "slow down" (RateLimited) is the correction that all obey.
"""

import asyncio
import time
from collections import OrderedDict
from uuid import UUID

from hub.pipeline.connections import LiveConnection

_MOST = 20_000
_BURST_SECONDS = 1.0


class Pacer:
    """When the next send may go: a moment per place, moved on by each send."""

    def __init__(self) -> None:
        self._next: OrderedDict[tuple[UUID, str], float] = OrderedDict()

    async def wait(self, connection: LiveConnection, conversation: str) -> None:
        """Wait for this send's turn."""
        capabilities = connection.adapter.capabilities
        delay = max(
            self._take((connection.id, ""), capabilities.sends_per_second),
            self._take((connection.id, conversation), capabilities.sends_per_second_per_conversation),
        )
        if delay > 0:
            await asyncio.sleep(delay)

    def _take(self, place: tuple[UUID, str], rate: float) -> float:
        """Seconds to wait; a second's worth may go at once."""
        now, step = time.monotonic(), 1.0 / rate
        burst = max(_BURST_SECONDS, step)
        at = max(self._next.get(place, 0.0), now - burst + step)
        self._next[place] = at + step
        self._next.move_to_end(place)
        if len(self._next) > _MOST:
            self._next.popitem(last=False)
        return at - now
