"""What every embedder gives, and the rule that vectors of two models never meet."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

DIMENSIONS = 384
"""The width of every stored vector; wider ones are cut and normalised again, narrower ones filled with zeros."""


class EmbeddingFailed(Exception):
    """No vectors could be made now; recall goes on without them and a batch is tried again later."""


class Embedder(Protocol):
    """Text to unit vectors. `identity` is stored beside every vector: another identity is never compared with it."""

    @property
    def identity(self) -> str:
        """Model, build and width in one string; empty where there are no vectors at all."""

    @property
    def chinese(self) -> bool:
        """Whether vectors of Chinese text mean anything; where not, Chinese queries are lexical only."""

    @property
    def ready(self) -> bool:
        """Whether `embed` would begin at once; before that a turn does not wait for it."""

    def prepare(self) -> None:
        """Begin to get ready in the background, if nobody has; returns at once."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit row per text, `DIMENSIONS` wide. Raises EmbeddingFailed."""

    async def close(self) -> None:
        """Give threads and connections back."""


class NoEmbedder:
    """Used where no model is installed and none is configured."""

    identity = ""
    chinese = False
    ready = True

    def prepare(self) -> None:
        """Nothing to get ready."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Zero rows: similarity to them is nothing, and nobody asks while `identity` is empty."""
        return np.zeros((len(texts), DIMENSIONS), dtype=np.float32)

    async def close(self) -> None:
        """Nothing is held."""


def fit(vectors: Vectors) -> Vectors:
    """Cut or fill up to DIMENSIONS and bring each row to length one. Raises EmbeddingFailed for what is no vector."""
    if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
        raise EmbeddingFailed(f"vectors of shape {vectors.shape} are no use here")
    cut = vectors[:, :DIMENSIONS]
    cut = np.pad(cut, ((0, 0), (0, DIMENSIONS - cut.shape[1])))  # zeros change no angle
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    unit: Vectors = (cut / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit
