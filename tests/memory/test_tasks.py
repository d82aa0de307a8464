"""The Celery task by its name, run as a worker runs it: with ids only, in a thread that is not the loop's."""

import asyncio

import pytest

from memory import tasks
from memory.embeddings.minilm import MiniLM
from memory.redis_cache import Cache
from memory.summarise import Digester
from memory.types import Policy
from tenants.crypto import Vault
from tenants.db.pools import Pools
from tests.memory.world import MASTER, World, round_of


async def test_a_worker_summarises_by_ids(world: World, embedder: MiniLM) -> None:
    opened: list[Pools] = []

    async def factory() -> Digester:
        pools = Pools(world.login_dsn)
        await pools.open()
        opened.append(pools)
        vault = Vault(MASTER, pools)
        return Digester(pools=pools, vault=vault, embedder=MiniLM(embedder.cache), cache=None)

    key, policy = world.key(), Policy(rounds=2)
    for number in range(4):
        await world.say(key, round_of(number, f"q{number}", f"a{number}"), policy)
    tasks.configure(factory)
    assert tasks.summarise.name == "memory.summarise"
    for batch in world.batches:
        await asyncio.to_thread(tasks.summarise, str(world.tenant_id), str(batch.id))
    assert await world.rows("SELECT first_seq, last_seq FROM summary ORDER BY first_seq") == [(1, 4), (5, 8)]
    assert len(opened) == 1
    closing = asyncio.run_coroutine_threadsafe(opened[0].close(), tasks._running()._loop)
    await asyncio.wrap_future(closing)


async def test_two_workers_on_one_batch_leave_one_summary(world: World) -> None:
    key, policy = world.key(), Policy(rounds=2)
    for number in range(2):
        await world.say(key, round_of(number, f"q{number}", f"a{number}"), policy)
    batch = world.batches[0]
    other = Digester(
        pools=world.pools, vault=world.vault, embedder=world.embedder, cache=Cache(world.redis, world.vault)
    )
    results = await asyncio.gather(*(d.run(world.tenant_id, batch.id) for d in (world.digester, other)))
    assert sorted(results) == [False, True]
    assert await world.rows("SELECT count(*) FROM summary") == [(1,)]


async def test_an_unconfigured_worker_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_factory", None)
    with pytest.raises(tasks.NotConfigured):
        tasks.summarise("x", "y")
