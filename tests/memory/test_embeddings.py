"""The bundled model, the HTTP endpoint, and what happens when either fails."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from memory.embeddings.base import DIMENSIONS, EmbeddingFailed
from memory.embeddings.choice import choose
from memory.embeddings.http import Endpoint, HttpEmbedder
from memory.embeddings.minilm import MiniLM
from memory.memory import Memory
from memory.types import Policy
from tests.memory.world import World, round_of


async def test_near_meanings_are_near(embedder: MiniLM) -> None:
    cat, kitten, market = await embedder.embed(
        ["A cat sits on the mat.", "A kitten rests on a rug.", "Stock markets fell today."]
    )
    assert np.allclose(np.linalg.norm([cat, kitten, market], axis=1), 1, atol=1e-4)
    assert cat @ kitten > 0.5 > 0.3 > cat @ market


async def test_many_callers_share_batches_and_get_their_own_rows(embedder: MiniLM) -> None:
    texts = [f"number {number} of many" for number in range(80)]
    single = await asyncio.gather(*(embedder.embed([text]) for text in texts))
    together = await embedder.embed(texts)
    assert np.einsum("ij,ij->i", np.concatenate(single), together).min() > 0.97


async def _serve(answer: Callable[[web.Request], Awaitable[web.Response]]) -> TestServer:
    app = web.Application()
    app.router.add_post("/v1/embeddings", answer)
    server = TestServer(app)
    await server.start_server()
    return server


async def test_an_endpoint_answers_in_any_order_and_any_width() -> None:
    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        rows = [
            {"index": index, "embedding": [float(len(text))] + [0.0] * 511} for index, text in enumerate(body["input"])
        ]
        return web.json_response({"data": rows[::-1]})

    server = await _serve(answer)
    async with ClientSession() as session:
        endpoint = Endpoint(base_url=str(server.make_url("/v1")), model="m", api_key="secret-key")
        embedder = choose(cache=Path("unused"), endpoint=endpoint, session=session)
        vectors = await embedder.embed(["x" * 3] * 100)
        assert vectors.shape == (100, DIMENSIONS)
        assert np.allclose(vectors[:, 0], 1)
        assert "secret-key" not in repr(endpoint) + embedder.identity
    await server.close()


@pytest.mark.parametrize(
    "response",
    [
        web.Response(status=429), web.Response(text="<html>"), web.json_response({"data": []}),
        web.json_response({"data": [{"index": 0, "embedding": ["x"]}]}),
    ],
    ids=["busy", "not-json", "too-few", "no-number"],
)  # fmt: skip
async def test_a_bad_endpoint_is_one_kind_of_error(response: web.Response) -> None:
    status, body = response.status, response.body

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    server = await _serve(answer)
    async with ClientSession() as session:
        with pytest.raises(EmbeddingFailed):
            await HttpEmbedder(Endpoint(base_url=str(server.make_url("/v1")), model="m"), session).embed(["x"])
    await server.close()


async def test_a_dead_endpoint_postpones_the_batch_and_words_still_find(world: World) -> None:
    async with ClientSession() as session:
        dead = HttpEmbedder(Endpoint(base_url="http://127.0.0.1:9", model="m", seconds=1), session)
        world.digester._embedder = dead
        key, policy = world.key(), Policy(rounds=1, keep_rounds=0)
        await world.say(key, round_of(0, "My dentist is called Ottilie", "Good"), policy)
        batch = world.batches[0]
        assert await world.digest() == [False]
        assert await world.rows("SELECT state, lease_until, error FROM memory_batch") == [
            ("claimed", None, "EmbeddingFailed")
        ]
        found = await world.memory.recall(world.key(subject=key.subject_id), "dentist", policy)
        assert found.items[0].seqs == (1,)
        await world.rows("UPDATE memory_batch SET attempts = 8 RETURNING id")
        assert await world.digester.run(world.tenant_id, batch.id) is True  # without vectors rather than never
        assert await world.rows("SELECT vector IS NULL, embedder FROM summary") == [(True, "")]


async def test_no_turn_waits_for_a_model_that_is_being_built(world: World, tmp_path: Path) -> None:
    fresh = MiniLM(tmp_path)
    memory = Memory(pools=world.pools, vault=world.vault, embedder=fresh, redis=world.redis)
    key = world.key()
    await world.say(key, round_of(0, "My dentist is called Ottilie", "Good"), Policy())
    asking = world.key(subject=key.subject_id)
    found = await memory.recall(asking, "Who is my dentist?", Policy())
    assert found.items[0].seqs == (1,)
    ready = [fresh.ready]
    await fresh.embed(["waits its turn"])
    assert [*ready, fresh.ready] == [False, True]
    assert "cached" not in (await memory.recall(asking, "Who is my dentist?", Policy())).timings_ms
    assert "cached" in (await memory.recall(asking, "Who is my dentist?", Policy())).timings_ms
    await memory.close()
