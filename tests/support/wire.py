"""Connections to model servers without the hub's guard, for tests of what agents do with them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from yarl import URL

from agents.providers.wire import Line, Wire


async def dial(url: URL, make: Callable[[], Line]) -> Line:
    """To wherever the URL leads."""
    _, line = await asyncio.get_running_loop().create_connection(make, str(url.raw_host), int(url.port or 0))
    return line


@asynccontextmanager
async def open_wire() -> AsyncIterator[Wire]:
    """Closed at the end of the block."""
    wire = Wire(dial)
    try:
        yield wire
    finally:
        await wire.close()
