"""The fixtures of a whole hub: import them in the conftest of your folder.

    from tests.support.runtime import hub_runtime, hub_world

What they give is a `tests.support.world.World`; models are imported late, because settings come first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.world import World


@pytest.fixture
async def hub_world(clean: Any, redis_url: str) -> AsyncIterator[World]:
    """A hub with everything around it, not yet started: begin with `await world.runtime.start()`."""
    from tests.support.model_plans import Plan
    from tests.support.model_server import ModelServer
    from tests.support.platforms.registry import FAKES
    from tests.support.world import make_world

    async with (
        ModelServer(Plan(kind="echo")) as model,
        FAKES["webhook"]() as program,
        FAKES["telegram"]() as telegram,
        FAKES["slack"]() as slack,
    ):
        fakes = {"webhook": program, "telegram": telegram, "slack": slack}
        world = await make_world(clean, model, fakes, redis_url)
        try:
            yield world
        finally:
            for fake in fakes.values():
                fake.release()
            for runtime in (*world.extra, world.runtime):
                await runtime.stop()


@pytest.fixture
async def hub_runtime(hub_world: World) -> World:
    """A running hub; what people say is echoed by the model."""
    await hub_world.runtime.start()
    return hub_world
