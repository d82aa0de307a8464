"""What was read is remembered for some seconds."""

import asyncio

import pytest

from tenants.remembered import RENEWED_FROM, Remembered


class Source:
    """Counts its reads; a read ends when `go_on` is set."""

    def __init__(self) -> None:
        self.reads = 0
        self.value: int | None = 1
        self.error: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self) -> int | None:
        self.reads += 1
        found = self.value
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return found


@pytest.fixture
def clock() -> list[float]:
    """The seconds that have passed; to be set."""
    return [1000.0]


@pytest.fixture
def known(clock: list[float]) -> Remembered[str, int | None]:
    return Remembered(seconds=10.0, missing_seconds=1.0, most=2, clock=lambda: clock[0])


async def test_many_who_ask_at_once_cost_one_read(known: Remembered[str, int | None]) -> None:
    source = Source()
    source.go_on.clear()
    asking = [asyncio.create_task(known.get("a", source)) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()  # the first may leave, the others have it all the same
    source.go_on.set()
    assert await asyncio.gather(*asking[1:]) == [1] * 49
    assert source.reads == 1


async def test_what_is_in_use_is_renewed_and_nobody_waits(
    known: Remembered[str, int | None], clock: list[float]
) -> None:
    source = Source()
    await known.get("a", source)
    clock[0] += 10.0 * RENEWED_FROM
    source.value = 2
    assert [await known.get("a", source) for _ in range(3)] == [1, 1, 1]
    await asyncio.sleep(0)  # the read has begun beside them
    await asyncio.sleep(0)
    assert (await known.get("a", source), source.reads) == (2, 2)
    clock[0] += 10.0
    source.value = 3
    assert (await known.get("a", source), source.reads) == (3, 3)  # nobody asked in time: read before it is given


async def test_what_is_missing_is_asked_for_again_soon(known: Remembered[str, int | None], clock: list[float]) -> None:
    source = Source()
    source.value = None
    assert [await known.get("a", source) for _ in range(3)] == [None] * 3
    assert source.reads == 1
    clock[0] += 1.0
    source.value = 1
    assert await known.get("a", source) == 1


async def test_an_error_is_shared_and_not_remembered(known: Remembered[str, int | None], clock: list[float]) -> None:
    source = Source()
    source.error = OSError("away")
    found = await asyncio.gather(*(known.get("a", source) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [OSError] * 3
    source.error = None
    assert (await known.get("a", source), source.reads) == (1, 2)
    clock[0] += 10.0 * RENEWED_FROM
    source.error = OSError("away")
    assert await known.get("a", source) == 1  # good until it is too old, whatever becomes of its renewal
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock[0] += 10.0
    with pytest.raises(OSError, match="away"):
        await known.get("a", source)


@pytest.mark.parametrize("all_of_them", [False, True])
async def test_a_change_counts_also_during_a_read(known: Remembered[str, int | None], *, all_of_them: bool) -> None:
    source = Source()
    source.go_on.clear()
    before = asyncio.create_task(known.get("a", source))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    source.value = 2
    if all_of_them:
        known.forget_where(lambda *_: True)
    else:
        known.forget("a")
    after = asyncio.create_task(known.get("a", source))
    await asyncio.sleep(0)
    source.go_on.set()
    assert (await before, await after) == (1, 2)
    assert (await known.get("a", source), source.reads) == (2, 2)


async def test_it_is_bounded_and_keeps_what_is_asked_for(known: Remembered[str, int | None]) -> None:
    source = Source()
    for key in ("a", "b", "a", "c", "a"):
        await known.get(key, source)
    assert source.reads == 3
    await known.get("b", source)
    assert source.reads == 4


async def test_an_equal_value_stays_the_same_object(clock: list[float]) -> None:
    known: Remembered[str, list[int]] = Remembered(seconds=10.0, clock=lambda: clock[0])

    async def read() -> list[int]:
        return [1]

    first = await known.get("a", read)
    clock[0] += 10.0
    assert await known.get("a", read) is first
