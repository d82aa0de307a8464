"""Which embedder a process uses: the operator's endpoint, else the bundled model, else none."""

from pathlib import Path

import aiohttp
import structlog

from memory.embeddings.base import Embedder, NoEmbedder
from memory.embeddings.http import Endpoint, HttpEmbedder
from memory.embeddings.minilm import MiniLM, model_folder

log = structlog.get_logger(__name__)


def choose(*, cache: Path, endpoint: Endpoint | None = None, session: aiohttp.ClientSession | None = None) -> Embedder:
    """The embedder for these settings; a named endpoint needs the session that it will use."""
    if endpoint is not None:
        if session is None:
            raise ValueError("an embedding endpoint needs an HTTP session")
        return HttpEmbedder(endpoint, session)
    if model_folder() is None:
        log.info("recall_is_lexical_only", reason="no sentence model is installed and no endpoint is set")
        return NoEmbedder()
    return MiniLM(cache)
