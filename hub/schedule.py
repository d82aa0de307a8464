"""Beat's scheduler. It keeps no file: at its start everything is sent at once, and what another beat has already sent
in the same slot ends at once (`hub.upkeep`). So a beat may be restarted, moved or doubled at will, and a task of every
day comes even where beat never lives that long."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from celery.beat import Scheduler
from prometheus_client import Counter
from typing_extensions import override

SENT = Counter("hub_beat_sent_total", "Periodic tasks that this beat sent, by name.", ["task"])
LONGEST_SLEEP = 30
"""Seconds between two looks at the schedule: also the sign of life that the probes see."""

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Slots(Scheduler):
    """The schedule of the settings, begun anew."""

    ticked: Callable[[], object] = staticmethod(lambda: None)
    """Called with each look at the schedule."""

    @override
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "max_interval": LONGEST_SLEEP})

    @override
    def setup_schedule(self) -> None:
        self.merge_inplace(self.app.conf.beat_schedule)
        for entry in self.schedule.values():
            entry.last_run_at = _LONG_AGO

    @override
    def tick(self, *args: Any, **kwargs: Any) -> float:
        type(self).ticked()
        return float(super().tick(*args, **kwargs))

    @override
    def apply_async(self, entry: Any, *args: Any, **kwargs: Any) -> Any:
        sent = super().apply_async(entry, *args, **kwargs)
        SENT.labels(entry.task).inc()
        return sent
