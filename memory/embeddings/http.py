"""Vectors from an OpenAI-style endpoint that the operator names (HUB_EMBEDDING_*): any language, any server."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import orjson

from memory.embeddings.base import DIMENSIONS, EmbeddingFailed, Vectors, fit

BATCH = 64
LONGEST_TEXT = 8_000
LARGEST_ANSWER = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where vectors are made. `shorten` asks the server for 384 dimensions; else longer vectors are cut here."""

    base_url: str
    model: str
    api_key: str = field(default="", repr=False)
    shorten: bool = False
    seconds: float = 20.0


class HttpEmbedder:
    """One request per 64 texts, at most four at a time. The session belongs to the caller and outlives this object."""

    chinese = True
    ready = True

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint
        self._session = session
        self._slots = asyncio.Semaphore(4)
        place = hashlib.sha256(endpoint.base_url.encode()).hexdigest()[:8]
        self.identity = f"{endpoint.model}/{DIMENSIONS}/{place}"[:120]

    def prepare(self) -> None:
        """Nothing to get ready."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit rows for `texts`. Raises EmbeddingFailed for whatever the network or the server does wrong."""
        if not texts:
            return np.zeros((0, DIMENSIONS), dtype=np.float32)
        parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._guarded(part)) for part in parts]
        return np.concatenate([_checked(task.result()) for task in tasks])

    async def close(self) -> None:
        """The session is the caller's."""

    async def _guarded(self, texts: Sequence[str]) -> Vectors | EmbeddingFailed:
        # Returned rather than raised: a task group would wrap it.
        try:
            async with self._slots:
                return fit(_rows(await self._post(texts), len(texts)))
        except EmbeddingFailed as error:
            return error
        except (aiohttp.ClientError, TimeoutError) as error:
            return EmbeddingFailed(f"the embedding endpoint did not answer: {type(error).__name__}")

    async def _post(self, texts: Sequence[str]) -> bytes:
        place = self._endpoint
        body: dict[str, object] = {"model": place.model, "input": [text[:LONGEST_TEXT] or " " for text in texts]}
        if place.shorten:
            body["dimensions"] = DIMENSIONS
        headers = {"Authorization": f"Bearer {place.api_key}"} if place.api_key else {}
        async with self._session.post(
            f"{place.base_url.rstrip('/')}/embeddings",
            json=body,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=place.seconds),
            allow_redirects=False,
        ) as response:
            if response.status != 200:
                raise EmbeddingFailed(f"the embedding endpoint answered {response.status}")
            answer = bytearray()
            async for chunk in response.content.iter_chunked(65_536):
                answer += chunk
                if len(answer) > LARGEST_ANSWER:
                    raise EmbeddingFailed("the embedding endpoint's answer is too large")
        return bytes(answer)


def _checked(result: Vectors | EmbeddingFailed) -> Vectors:
    if isinstance(result, EmbeddingFailed):
        raise result
    return result


def _rows(answer: bytes, count: int) -> Vectors:
    """The vectors in the order of the texts; servers may answer in another."""
    try:
        data = sorted(orjson.loads(answer)["data"], key=lambda row: row["index"])
        vectors = np.array([row["embedding"] for row in data], dtype=np.float32)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise EmbeddingFailed("the embedding endpoint's answer is not of the expected form") from error
    if len(vectors) != count:
        raise EmbeddingFailed(f"{count} texts were sent and {len(vectors)} vectors came back")
    return vectors
