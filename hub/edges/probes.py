"""What stands before the doors: the count of what they answer; and all that a process without doors has."""

from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, Final

from prometheus_client import Counter

from hub.edges.health import health
from hub.edges.http import Receive, Scope, Send
from hub.edges.metrics import REQUESTS, metrics
from hub.edges.root import App, no_door

_DOORS: Final = frozenset({"webhooks", "v1", "sse", "api", "mcp", "health", "metrics", "admin", "static"})
"""First parts of paths that are counted by name; the rest are `pages`, so that labels stay few."""


def door_of(path: str) -> str:
    """The label of a request's path."""
    first = path[1:].partition("/")[0]
    return first if first in _DOORS else "pages"


@lru_cache(maxsize=256)
def _answered(door: str, hundreds: int) -> Counter:
    return REQUESTS.labels(door, f"{hundreds}xx")


class Counted:
    """An application whose answers are counted by door and class."""

    def __init__(self, application: App) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; note the head of an answer."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        door = door_of(scope["path"])

        async def counting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                _answered(door, message["status"] // 100).inc()
            await send(message)

        await self._application(scope, receive, counting)


class Probes:
    """The application of a process that runs turns and that nobody visits; `root` owns its life."""

    def __init__(self, root: App) -> None:
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer health and metrics; everything else is not here."""
        if scope["type"] == "lifespan":
            await self._root(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4404})
        elif scope["path"] == "/metrics":
            await metrics(scope, receive, send)
        elif scope["path"].startswith("/health/"):
            await health(scope, receive, send)
        else:
            await no_door(scope, receive, send)
