"""The time limit of the doors: the work's own result, errors and cancellations, and TimeoutError for what is late."""

import asyncio
from typing import Any

import pytest

from hub.edges.within import within


async def _after(waits: int, result: Any = "done", *, future: "asyncio.Future[Any] | None" = None) -> Any:
    for _ in range(waits):
        await asyncio.sleep(0)
    if future is not None:
        return await future
    if isinstance(result, Exception):
        raise result
    return result


@pytest.mark.parametrize("waits", [0, 1, 5])
async def test_what_ends_in_time_gives_its_result_or_its_error(waits: int) -> None:
    assert await within(60, _after(waits, "said")) == "said"
    with pytest.raises(ValueError, match="mine"):
        await within(60, _after(waits, ValueError("mine")))


async def test_no_timer_is_set_where_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: float) -> Any:
        raise AssertionError("a timer was set")

    monkeypatch.setattr(asyncio, "timeout", never)
    assert await within(60, _after(0)) == "done"


@pytest.mark.parametrize("waits", [0, 3])
async def test_what_is_late_is_cancelled(waits: int) -> None:
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        await within(0.01, _after(waits, future=never))
    assert never.cancelled()


async def test_a_cancellation_reaches_the_work_and_its_caller() -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("work")
            await asyncio.sleep(0)  # it may take leave
            told.append("left")
            raise

    task = asyncio.create_task(within(60, work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["work", "left"]
