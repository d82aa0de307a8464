"""Which door a request takes: raw ones first, then the chat's Channels consumers, then Django.

The root owns `lifespan`. A server without it (Daphne) makes the runtime start with the first request that needs it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from channels.routing import URLRouter
from django.urls import re_path

from hub.edges.chat import ChatSocket
from hub.edges.completions import completions, models
from hub.edges.health import health
from hub.edges.http import Receive, Scope, Send, respond_json
from hub.edges.metrics import metrics
from hub.edges.rest.door import guarded
from hub.edges.speaking import speak
from hub.edges.sse import ChatStream
from hub.edges.webhooks import webhooks
from hub.runtime import current_runtime, get_runtime

log = structlog.get_logger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]
_ID: Final = r"(?P<public_id>[A-Za-z0-9_-]{1,64})"
_ACTS: Final = "messages|stop|history|read|identify|settings|logo|uploads"


async def nothing_yet(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 (an ASGI application)
    """Answer for a door that is not built yet."""
    error = {"code": "not_available", "message": "the MCP server is not available in this version"}
    await respond_json(send, 404, {"error": error})


async def no_door(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 (an ASGI application)
    """Answer where no chat is."""
    await respond_json(send, 404, {"error": {"code": "not_found", "message": "there is nothing here"}})


def _route(pattern: str, app: Any) -> Any:
    # Channels routes ASGI applications by Django's patterns, whose types know views only.
    return re_path(pattern, app)


_streams = URLRouter(
    [
        _route(rf"^sse/chat/{_ID}/(?P<act>{_ACTS})$", speak),
        _route(rf"^sse/chat/{_ID}/(?P<act>upload)s/(?P<upload>[0-9a-f-]{{36}})$", speak),
        _route(rf"^sse/chat/{_ID}$", ChatStream.as_asgi()),
        _route(r"", no_door),
    ]
)
_sockets = URLRouter([_route(rf"^ws/chat/{_ID}/?$", ChatSocket.as_asgi())])

_EXACT: Final[dict[str, App]] = {
    "/v1/chat/completions": completions,
    "/v1/models": models,
    "/metrics": metrics,
    "/mcp": nothing_yet,
}
_PREFIXED: Final[tuple[tuple[str, App], ...]] = (
    ("/webhooks/", webhooks),
    ("/v1/models/", models),
    ("/health/", health),
    ("/mcp/", nothing_yet),
    ("/sse/", _streams),
)


class Root:
    """The root application; `pages` is Django."""

    def __init__(self, pages: Any) -> None:
        self._pages: App = pages
        self._api: App = guarded(pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or socket, or live as long as the server."""
        kind = scope["type"]
        if kind == "http":
            await self._door(scope["path"])(scope, receive, send)
        elif kind == "websocket":
            await _socket(scope, receive, send)
        else:
            await _live(receive, send)

    def _door(self, path: str) -> App:
        exact = _EXACT.get(path)
        if exact is not None:
            return exact
        for prefix, app in _PREFIXED:
            if path.startswith(prefix):
                return app
        return self._api if path.startswith("/api/") else self._pages


async def _socket(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await _sockets(scope, receive, send)
    except ValueError:  # no route
        await send({"type": "websocket.close", "code": 4404})


async def _live(receive: Receive, send: Send) -> None:
    """Start with the server, stop with it. A start that fails stops the server with its reason."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await get_runtime()
            except Exception as error:  # the server is told why, in its protocol's words, and ends
                log.exception("start_failed")
                await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
                return
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            runtime = current_runtime()
            if runtime is not None:
                await runtime.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
