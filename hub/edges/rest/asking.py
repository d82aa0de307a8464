"""Ask the other side whether it works: a platform about its credentials, a model for one word. Changes nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.conf import settings

from agents.errors import ProviderError
from agents.models import Agent
from agents.providers import providers
from agents.providers.base import ChatRequest, Completion, Grounds
from agents.types import ChatMessage, ModelRoute
from channels_adapters.base import ChannelAdapter, Scope
from channels_adapters.errors import ChannelError
from channels_adapters.registry import adapter_type
from hub.configured import default_route
from hub.egress import Egress
from hub.models import Connection
from hub.pipeline.connections import open_credentials
from hub.pipeline.reading import route_keys, vault

SECONDS: Final = 30.0
_QUESTION: Final = "Answer with the one word: ready"
_ROUTE: Final = frozenset(ModelRoute.__dataclass_fields__) - {"api_key"}


def ask_platform(row: Connection) -> dict[str, Any]:
    """Whether the stored credentials work. A channel without a way to ask counts as working."""
    values = open_credentials(vault(), row)

    async def ask(egress: Egress) -> tuple[bool, str, str]:
        kind = adapter_type(row.channel)
        scope = Scope(connection_id=str(row.id), public_id=row.public_id, name=row.name)
        adapter = kind(kind.credentials_type(**values), http=egress.http, keys=egress.keys, scope=scope)
        if type(adapter).probe is ChannelAdapter.probe:
            return True, "The stored credentials are complete; this channel offers no way to ask.", ""
        try:
            found = await adapter.probe()
        except ChannelError as refused:
            return False, refused.detail or type(refused).__name__, ""
        return found.ok, found.detail, found.identity

    return _timed(ask)


def ask_model(row: Agent) -> dict[str, Any]:
    """Whether the agent's first model answers."""
    route = _route(row)
    if route is None:
        return {"ok": True, "detail": "No model is set: the built-in answers from memory count.", "identity": "offline",
                "seconds": 0.0}  # fmt: skip
    request = ChatRequest(
        messages=[ChatMessage(role="user", text=_QUESTION)], grounds=Grounds(query="", language=""), max_tokens=16
    )

    async def ask(egress: Egress) -> tuple[bool, str, str]:
        known = providers(egress.models)
        if route.provider not in known:
            return False, f"There is no provider {route.provider!r}; there are: {', '.join(known)}.", ""
        try:
            found: Completion = await known[route.provider].chat(route, request, lambda _: None)
        except ProviderError as fault:
            # The provider's own words may quote the request, keys included.
            return False, f"{fault.kind}{f' (HTTP {fault.status})' if fault.status else ''}", route.model
        return True, found.text[:200], route.model

    return _timed(ask)


def _route(row: Agent) -> ModelRoute | None:
    if not row.routes:
        return default_route(settings.HUB_ENV)
    keys = route_keys(row)
    first = {name: value for name, value in row.routes[0].items() if name in _ROUTE and value is not None}
    return ModelRoute(**first, api_key=keys[0] if keys else "")


def _timed(ask: Callable[[Egress], Awaitable[tuple[bool, str, str]]]) -> dict[str, Any]:
    async def within() -> tuple[bool, str, str]:
        async with Egress(allow=settings.HUB_EGRESS_ALLOW) as egress:
            try:
                async with asyncio.timeout(SECONDS):
                    return await ask(egress)
            except TimeoutError:
                return False, f"No answer within {SECONDS:.0f} seconds.", ""

    started = time.monotonic()
    ok, detail, identity = async_to_sync(within)()
    return {"ok": ok, "detail": detail, "identity": identity, "seconds": round(time.monotonic() - started, 3)}
