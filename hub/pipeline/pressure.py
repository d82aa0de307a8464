"""Memory pressure: past the limit caches shrink, and if that does not help new messages are refused for a while.

Measured is the container's limit where there is one (cgroup v2), else the machine's memory.
"""

from collections.abc import Callable
from pathlib import Path

import psutil
import structlog

from agents.pool import WarmStates
from hub.pipeline import metrics

log = structlog.get_logger(__name__)

_CGROUP = Path("/sys/fs/cgroup")
_SHRINK = 0.25
_REFUSE_ABOVE = 10.0
"""Percentage points above the limit at which nothing more is taken."""
_HIGHEST = 97.0


def memory_percent(cgroup: Path = _CGROUP) -> float:
    """How much of the memory that this process may use is in use, 0 to 100."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):
        return float(psutil.virtual_memory().percent)
    if not limit.isdigit() or int(limit) <= 0:
        return float(psutil.virtual_memory().percent)
    return 100.0 * used / int(limit)


class Pressure:
    """Looks at the memory, shrinks L1, and says whether the process is full."""

    def __init__(self, warm: WarmStates, *, limit: float, measure: Callable[[], float] = memory_percent) -> None:
        self._warm = warm
        self._limit = limit
        self._measure = measure
        self.full = False

    def look(self) -> float:
        """Measure and act; returns the percentage."""
        percent = self._measure()
        metrics.MEMORY_SHARE.set(percent)
        pressed = percent > self._limit
        if pressed and (dropped := self._warm.shrink(_SHRINK)):
            log.warning("l1_shrunk", sessions=dropped, memory_percent=round(percent, 1), limit=self._limit)
        full = percent > min(self._limit + _REFUSE_ABOVE, _HIGHEST)
        if full != self.full:
            log.warning("admission_closed" if full else "admission_opened", memory_percent=round(percent, 1))
        self.full = full
        metrics.PRESSED.set(2 if full else int(pressed))
        return percent
