"""Asking a model endpoint for real: one short completion through the same provider and guard as a turn's."""

import asyncio
import time
from dataclasses import dataclass

from agents.errors import FaultKind, ProviderError
from agents.providers import OFFLINE, providers
from agents.providers.base import ChatRequest, Grounds
from agents.types import ChatMessage, ModelRoute
from hub.egress import Egress
from hub.env import Env

SECONDS = 20.0
_REMEDIES: dict[FaultKind, str] = {
    "auth": "the key is refused: set the right one (HUB_LLM_API_KEY, or hub agent set NAME --model-key)",
    "rate_limited": "the endpoint says: too many requests; wait, or raise the limit of the account there",
    "overloaded": "the endpoint is overloaded: wait, or give the agent a second route",
    "timeout": "the endpoint does not answer in time: look at it, or choose a smaller model",
    "bad_request": "the endpoint refuses the request: is the model's name right there?",
    "context_overflow": "the endpoint refuses even a short prompt: is this a chat model?",
    "content": "the endpoint refuses by its content rules",
    "broken_stream": "the endpoint ends its answers early: look for a proxy in between that cuts streams",
    "unavailable": "nothing answers there: check the address, and HUB_EGRESS_ALLOW where it is a private one",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a question; `ms` to the whole answer. `remedy` is empty when all is well."""

    model: str
    base_url: str
    ms: int
    detail: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether it answered."""
        return not self.remedy


async def ask(env: Env, route: ModelRoute, *, seconds: float = SECONDS) -> Asked:
    """Ask one route for one token; never raises for what an endpoint does."""
    request = ChatRequest(
        messages=[ChatMessage(role="user", text="Say: ok")], grounds=Grounds(query="", language=""), max_tokens=1
    )
    began = time.perf_counter()
    try:
        async with asyncio.timeout(seconds), Egress(allow=env.egress_allow) as egress:
            known = providers(egress.models)
            provider = known.get(route.provider, known[OFFLINE])
            completion = await provider.chat(route, request, lambda _: None)
    except ProviderError as fault:
        return _asked(route, began, f"{fault.kind}: {fault.detail[:200]}", _REMEDIES[fault.kind])
    except TimeoutError:
        return _asked(route, began, f"no answer within {seconds:g} s", _REMEDIES["timeout"])
    spent = completion.input_tokens + completion.output_tokens
    return _asked(route, began, f"answered with {spent} tokens{' (estimated)' if completion.estimated else ''}")


def _asked(route: ModelRoute, began: float, detail: str, remedy: str = "") -> Asked:
    ms = round((time.perf_counter() - began) * 1000)
    return Asked(route.model, route.base_url, ms, " ".join(detail.split()), remedy)
