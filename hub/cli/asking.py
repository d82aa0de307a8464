"""Asking a model endpoint for real: one short completion through the same provider and guard as a turn's."""

import asyncio
import time
from dataclasses import dataclass

from agents.errors import FaultKind, ProviderError
from agents.providers import OFFLINE, providers
from agents.providers.base import ChatRequest, Grounds
from agents.types import ChatMessage, ModelRoute
from hub.cli.words import Phrase, Words
from hub.egress import Egress
from hub.env import Env

SECONDS = 20.0
_REMEDIES: dict[FaultKind, Phrase] = {
    "auth": Phrase("the key is refused: set the right one (HUB_LLM_API_KEY, or hub agent set NAME --model-key)"),
    "rate_limited": Phrase("the endpoint says: too many requests; wait, or raise the limit of the account there"),
    "overloaded": Phrase("the endpoint is overloaded: wait, or give the agent a second route"),
    "timeout": Phrase("the endpoint does not answer in time: look at it, or choose a smaller model"),
    "bad_request": Phrase("the endpoint refuses the request: is the model's name right there?"),
    "context_overflow": Phrase("the endpoint refuses even a short prompt: is this a chat model?"),
    "content": Phrase("the endpoint refuses by its content rules"),
    "broken_stream": Phrase("the endpoint ends its answers early: look for a proxy in between that cuts streams"),
    "unavailable": Phrase("nothing answers there: check the address, and HUB_EGRESS_ALLOW where it is a private one"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a question; `ms` to the whole answer. `remedy` is empty when all is well."""

    model: str
    base_url: str
    ms: int
    detail: Words
    remedy: Words = ""

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
        detail = " ".join(f"{fault.kind}: {fault.detail[:200]}".split())
        return _asked(route, began, detail, _REMEDIES[fault.kind])
    except TimeoutError:
        return _asked(route, began, Phrase("no answer within {seconds:g} s", seconds=seconds), _REMEDIES["timeout"])
    spent = completion.input_tokens + completion.output_tokens
    if completion.estimated:
        return _asked(route, began, Phrase("answered with {tokens} tokens (estimated)", tokens=spent))
    return _asked(route, began, Phrase("answered with {tokens} tokens", tokens=spent))


def _asked(route: ModelRoute, began: float, detail: Words, remedy: Words = "") -> Asked:
    ms = round((time.perf_counter() - began) * 1000)
    return Asked(route.model, route.base_url, ms, detail, remedy)
