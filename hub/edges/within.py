"""A time limit that costs nothing where nothing has to be waited for, as with most reads and writes of a door."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await `work` for at most `seconds`; raises TimeoutError.

    It runs up to its first wait before a timer is set: a timer for each chunk of each stream was a tenth of what a
    streamed answer costs.
    """
    steps = work.__await__()
    try:
        waits_for = steps.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(seconds):
        rest: T = await _Begun(steps, waits_for)
        return rest


class _Begun:
    """The rest of work that has come to a wait."""

    def __init__(self, steps: Generator[Any, Any, Any], waits_for: Any) -> None:
        self._steps, self._waits_for = steps, waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        while True:
            try:
                value, error = (yield self._waits_for), None
            except BaseException as caught:  # noqa: BLE001 - a cancellation too is the work's to answer
                value, error = None, caught
            try:
                self._waits_for = self._steps.send(value) if error is None else self._steps.throw(error)
            except StopIteration as done:
                return done.value
