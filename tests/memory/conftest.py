"""A tenant of its own for each test, on the run's servers."""

from collections.abc import AsyncIterator

import pytest

from memory.embeddings.minilm import MiniLM
from tests.conftest import Database
from tests.memory.world import World, make_tenant, open_world


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> MiniLM:
    made = MiniLM(tmp_path_factory.mktemp("model"))
    made.embed_now(["warm"])
    return made


@pytest.fixture
async def world(database: Database, redis_url: str, embedder: MiniLM) -> AsyncIterator[World]:
    made = open_world(
        make_tenant(database.superuser_dsn),
        embedder,
        superuser_dsn=database.superuser_dsn,
        login_dsn=database.login_dsn,
        redis_url=redis_url,
    )
    await made.pools.open()
    yield made
    await made.redis.aclose()
    await made.pools.close()
