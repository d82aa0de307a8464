"""How a process is doing: how late its event loop runs and what it holds."""

import asyncio
import time
from collections import Counter

import structlog

from agents.runtime import AgentRuntime
from hub.pipeline import metrics
from hub.pipeline.inbox import Inbox
from hub.pipeline.streams import Streams

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.25
_LATE_SECONDS = 0.5


async def watch_loop(*, agents: AgentRuntime, inbox: Inbox, streams: Streams) -> None:
    """How late the event loop runs, until cancelled: work of over 5 ms does not belong on it."""
    while True:
        due = time.monotonic() + _LOOK_SECONDS
        await asyncio.sleep(_LOOK_SECONDS)
        lag = time.monotonic() - due
        metrics.LOOP_LAG.set(lag)
        metrics.WATCHES.set(streams.watching)
        metrics.WAITING.set(inbox.waiting)
        _count(agents)
        if lag > _LATE_SECONDS:
            log.warning("event_loop_late", seconds=round(lag, 3))


def _count(runtime: AgentRuntime) -> None:
    """Set the gauges of what the agents' runtime holds."""
    warm = runtime.warm
    metrics.L1_SESSIONS.set(len(warm))
    metrics.L1_BYTES.set(warm.bytes)
    metrics.AGENT_POOL.set(len(runtime.agents))
    states = Counter(runtime.calls.breakers.states().values())
    for state in ("closed", "open", "half_open"):
        metrics.BREAKERS.labels(state).set(states[state])
