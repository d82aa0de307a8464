"""Celery: only what rows can rebuild. A lost task is found again by its row, so a broker is no store.

Started as `celery --app=hub.celery worker` and `… beat`.
"""

import time
import warnings
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import before_task_publish, setup_logging, worker_process_init

from hub.env import env, select_settings
from hub.settings.logs import configure

UPKEEP = "hub.upkeep."
SOFT_LIMIT = 600
HARD_LIMIT = 660
VISIBILITY = 1320
"""Seconds after which a broker gives an unacknowledged task to another worker: twice the hard limit, so that a task
that still runs is never given away."""

SLOTS = {
    "hub.upkeep.partitions": 6 * 3600,
    "hub.upkeep.quotas": 300,
    "hub.upkeep.message_keys": 24 * 3600,
    "hub.upkeep.tool_calls": 24 * 3600,
    "hub.upkeep.summaries": 60,
    "hub.upkeep.workers": 600,
    "hub.upkeep.uploads": 3600,
    "hub.upkeep.rollups": 120,
    "hub.upkeep.vectors": 600,
}
"""Seconds between two runs of a periodic task; a run belongs to the slot in which it was sent."""

select_settings()
# It warns of pickled tasks run as root; ours are JSON with ids, and nothing else is accepted.
warnings.filterwarnings("ignore", category=SecurityWarning)
app = Celery("hub")
app.conf.update(
    broker_url=env().broker,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": VISIBILITY},
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_soft_time_limit=SOFT_LIMIT,
    task_time_limit=HARD_LIMIT,
    task_serializer="json",
    result_serializer="json",
    event_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_default_queue="hub",
    worker_hijack_root_logger=False,
    worker_max_tasks_per_child=1_000,
    timezone="UTC",
    beat_schedule={
        name.removeprefix(UPKEEP): {"task": name, "schedule": seconds, "options": {"expires": seconds}}
        for name, seconds in SLOTS.items()
    },
)
app.autodiscover_tasks(["memory"])
app.autodiscover_tasks(["hub"], related_name="upkeep")
app.autodiscover_tasks(["hub"], related_name="bulk")


@before_task_publish.connect
def _name_slot(sender: str = "", headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Two beats send a periodic task twice; both sendings name the same slot, and its second run ends at once."""
    if headers is not None and sender in SLOTS:
        headers.setdefault("slot", slot(sender))


def slot(name: str) -> int:
    """The number of a periodic task's present slot."""
    return int(time.time()) // SLOTS[name]


@setup_logging.connect
def _logs(**_: Any) -> None:
    configure(level=env().log_level, form=env().log_format)


@worker_process_init.connect
def _ready(**_: Any) -> None:
    """In each task process, after the fork: say how its digester is made; the servers are asked at the first batch."""
    from hub.summaries import make_digester
    from memory import tasks

    tasks.configure(lambda: make_digester(env()))
