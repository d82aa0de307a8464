"""The bounded queue in front of a writer: full for who floods it, not for the others."""

import asyncio
from collections.abc import Sequence

import pytest

from tenants.db.batching import Batcher, Overloaded


class Writer:
    """A writer that stands still until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.written: list[str] = []

    async def __call__(self, items: Sequence[str]) -> Sequence[str]:
        self.begun.set()
        await self.go_on.wait()
        self.written += items
        return items


async def _fill(batcher: Batcher[str, str], writer: Writer, owner: str, *, size: int = 1) -> int:
    """How many items of this owner the queue takes."""
    count = 0
    while True:
        try:
            batcher.enqueue(f"{owner}{count}", owner=owner, size=size)
        except Overloaded:
            return count
        count += 1
        if count == 1:
            await writer.begun.wait()


async def test_a_flood_leaves_room_for_others() -> None:
    writer = Writer()
    batcher: Batcher[str, str] = Batcher(writer, max_items=1, capacity=80)
    assert await _fill(batcher, writer, "flood") == 61, "alone: three quarters, beside what is being written"
    calm = [batcher.enqueue(f"calm{n}", owner="calm") for n in range(19)]
    with pytest.raises(Overloaded):
        batcher.enqueue("flood", owner="flood")
    with pytest.raises(Overloaded):
        for n in range(2):
            batcher.enqueue(f"third{n}", owner="third")
    assert batcher.waiting == 80
    writer.go_on.set()
    assert await asyncio.wait_for(asyncio.gather(*calm), 5) == [f"calm{n}" for n in range(19)]
    await batcher.close()
    assert len(writer.written) == 81


async def test_others_present_a_flood_has_a_quarter() -> None:
    writer = Writer()
    batcher: Batcher[str, str] = Batcher(writer, max_items=1, capacity=80)
    batcher.enqueue("first", owner="calm")
    await writer.begun.wait()
    batcher.enqueue("second", owner="calm")
    assert await _fill(batcher, writer, "flood") == 20
    writer.go_on.set()
    await batcher.close()


async def test_bytes_have_shares_too() -> None:
    writer = Writer()
    batcher: Batcher[str, str] = Batcher(writer, max_items=1, capacity=8000, capacity_bytes=1000)
    assert await _fill(batcher, writer, "flood", size=100) == 9
    batcher.enqueue("calm", owner="calm", size=100)
    writer.go_on.set()
    await batcher.close()
