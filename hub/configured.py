"""The operator's model and embedder, from the environment: one reading for gateways, runners and workers."""

from agents.providers import OPENAI
from agents.types import ModelRoute
from hub.env import Env
from memory.embeddings.base import DIMENSIONS
from memory.embeddings.http import Endpoint


def default_route(env: Env) -> ModelRoute | None:
    """The hub's own model, for agents that name none."""
    if not (env.llm_base_url and env.llm_model):
        return None
    key = env.llm_api_key.get_secret_value() if env.llm_api_key else ""
    return ModelRoute(provider=OPENAI, model=env.llm_model, base_url=env.llm_base_url, api_key=key)


def embedding_endpoint(env: Env) -> Endpoint | None:
    """The operator's endpoint for vectors; None means the built-in model."""
    if not (env.embedding_base_url and env.embedding_model):
        return None
    key = env.embedding_api_key.get_secret_value() if env.embedding_api_key else ""
    return Endpoint(
        base_url=env.embedding_base_url,
        model=env.embedding_model,
        api_key=key,
        shorten=env.embedding_dimensions == DIMENSIONS,
    )
