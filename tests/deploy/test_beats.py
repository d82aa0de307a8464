"""No periodic job runs twice, however many beats send it and workers take it; a beat that starts sends at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from hub import upkeep
from hub.celery import SLOTS, app
from hub.schedule import Slots
from tests.conftest import Database
from tests.support.patience import PATIENCE


@contextmanager
def asked(number: int, sending: str) -> Iterator[Any]:
    """The job as a worker sees it: sent by some beat, in this slot."""
    task = upkeep.quota
    task.push_request(id=sending, slot=number)
    try:
        yield task
    finally:
        task.pop_request()


def run(number: int, sending: str, work: Any) -> int:
    with asked(number, sending) as task:
        return upkeep._once(task, work)


def noting(done: list[str], name: str) -> Callable[[], int]:
    def work() -> int:
        done.append(name)
        return 1

    return work


def test_what_two_beats_send_runs_once(clean: Database) -> None:
    done: list[str] = []
    for sending in ("first beat's", "second beat's"):
        run(100, sending, noting(done, sending))
    run(101, "next", noting(done, "next"))
    assert done == ["first beat's", "next"]


def test_a_job_sent_again_after_a_crash_runs_again(clean: Database) -> None:
    with pytest.raises(RuntimeError):
        run(100, "one", lambda: (_ for _ in ()).throw(RuntimeError("killed in the middle")))
    assert run(100, "one", lambda: 7) == 7


def test_two_runs_are_kept_apart_when_redis_has_forgotten(clean: Database, redis_url: str) -> None:
    inside, over = threading.Event(), threading.Event()
    results: list[int] = []

    def slow() -> int:
        inside.set()
        assert over.wait(PATIENCE)
        return 1

    first = threading.Thread(target=lambda: results.append(run(100, "one", slow)))
    first.start()
    assert inside.wait(PATIENCE)
    with Redis.from_url(redis_url) as client:
        client.flushall()
    assert run(100, "two", lambda: 2) == 0  # the slot is free again, the lock is not
    over.set()
    first.join(20)
    assert results == [1]
    assert run(102, "three", lambda: 3) == 3  # and is given back


class Recorder(Slots):
    """Beat without a broker: what it would send."""

    def __init__(self, sent: list[str]) -> None:
        self.sent = sent
        super().__init__(app=app)

    def apply_async(self, entry: Any, *_: Any, **__: Any) -> None:
        self.sent.append(entry.task)

    @property
    def producer(self) -> None:  # type: ignore[override]
        return None


def test_a_beat_sends_everything_when_it_starts_and_nothing_twice() -> None:
    sent: list[str] = []
    beat = Recorder(sent)
    for _ in range(3 * len(SLOTS)):
        assert beat.tick() <= 30
    assert sorted(sent) == sorted(SLOTS)
