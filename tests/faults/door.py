"""A webhook door for the fault rig while the hub's own is not there: accept, then the crash point, then the answer.

`hub.asgi:application` is used instead as soon as it exists (see `rig.application`).
"""

import time
from datetime import UTC, datetime
from typing import Any

import django

from hub.env import select_settings

select_settings()
django.setup()

from channels_adapters.errors import ChannelError  # noqa: E402
from channels_adapters.types import WebhookRequest, WebhookResponse  # noqa: E402
from hub.ledger.batching import Overloaded  # noqa: E402
from hub.pipeline import crash  # noqa: E402
from hub.pipeline.connections import LiveConnection  # noqa: E402
from hub.pipeline.errors import Unavailable  # noqa: E402
from hub.pipeline.inbox import AWAY  # noqa: E402
from hub.runtime import get_runtime  # noqa: E402


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    done = await _answer(scope, body)
    headers = [(name.encode(), value.encode()) for name, value in done.headers.items()]
    await send({"type": "http.response.start", "status": done.status, "headers": headers})
    await send({"type": "http.response.body", "body": done.body})


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        event = await receive()
        runtime = await get_runtime()
        if event["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await runtime.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _answer(scope: dict[str, Any], body: bytes) -> WebhookResponse:
    _, doors, *rest = scope["path"].split("/")
    if doors != "webhooks" or len(rest) != 2:
        return WebhookResponse(status=404, body=b"")
    runtime = await get_runtime()
    try:
        connection = await runtime.connections.find(*rest)
        if connection is None:
            return WebhookResponse(status=404, body=b"")
        return await _take(runtime, connection, _request(scope, body))
    except (Unavailable, Overloaded, *AWAY):
        return WebhookResponse(status=503, headers={"retry-after": "1"}, body=b"")


async def _take(runtime: Any, connection: LiveConnection, request: WebhookRequest) -> WebhookResponse:
    try:
        connection.adapter.verify(request)
        events = connection.adapter.parse(request)
    except ChannelError as error:
        return WebhookResponse(status=401 if "Signature" in type(error).__name__ else 400, body=b"")
    outcomes = await runtime.inbox.accept(connection, request, events)
    crash.point("webhook.before_answer")
    return connection.adapter.acknowledge(request, events, outcomes)


def _request(scope: dict[str, Any], body: bytes) -> WebhookRequest:
    return WebhookRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode(),
        headers={name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
        url=f"http://hub.test{scope['path']}",
        received_at=datetime.fromtimestamp(time.time(), tz=UTC),
    )
