"""The platforms' door: `POST|GET /webhooks/<channel>/<public id>`, raw ASGI, acknowledged only after the commit."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog
from prometheus_client import Counter

from channels_adapters.errors import ChannelError, KeyUnknown, PayloadMalformed, RequestRejected, SignatureInvalid
from channels_adapters.types import (
    InboundEvent,
    InboundMessage,
    Outcome,
    QuickReply,
    Reply,
    WebhookRequest,
    WebhookResponse,
)
from hub.edges import metrics
from hub.edges.answers import Follower
from hub.edges.guard import COUNTERS, WEBHOOK_BODY, ClientGone, Refused, read_body, request_headers
from hub.edges.http import Header, Receive, Scope, Send, respond, respond_json
from hub.edges.visit import storage
from hub.pipeline import crash
from hub.pipeline.connections import LiveConnection
from hub.pipeline.inbox import AWAY
from hub.pipeline.inline import Taken
from hub.runtime import get_runtime
from tenants.ids import uuid7

if TYPE_CHECKING:
    from hub.runtime import Runtime

log = structlog.get_logger(__name__)

MARGIN_SECONDS: Final = 0.25
"""Kept back from an adapter's deadline for the way of the answer."""


HOLD_SECONDS: Final = 0.5
"""How long after its response was given up an answer is still not delivered: it may just have been taken."""


async def webhooks(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one webhook. Nothing but a counted answer ever leaves here."""
    started = time.perf_counter()
    channel = ""
    try:
        channel, _, public_id = scope["path"].removeprefix("/webhooks/").partition("/")
        runtime, connection = await _connection(channel, public_id)
        request = await _freeze(scope, receive, runtime)
        response, taken = await _answer(runtime, connection, request)
        crash.point("webhook.before_answer")
        COUNTERS.note(connection.channel, connection.id, f"status_{response.status}")
        media, rest = _encoded(tuple(response.headers.items()))
        await respond(send, response.status, response.body, media_type=media, headers=rest)
        if taken is not None:
            crash.point("inline.before_settle")
            runtime.inline.sent(taken)
        _answered(channel, response.status // 100).inc()
        metrics.WEBHOOK_SECONDS.observe(time.perf_counter() - started)
    except Refused as refused:
        await _refuse(send, refused, channel)
    except (ClientGone, OSError):
        metrics.WEBHOOKS.labels("-", "gone").inc()
    except Exception:  # the door stays open: logged whole, and the platform sends again
        trace = uuid7().hex
        log.exception("webhook_failed", trace=trace)
        await _refuse(send, Refused(500, "internal", f"something went wrong; the trace is {trace}"), channel)


@lru_cache(maxsize=512)
def _encoded(headers: tuple[tuple[str, str], ...]) -> tuple[bytes, list[Header]]:
    """The media type, and the other headers: an adapter's answers have the same few again and again."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    rest = [header for header in raw if header[0] not in (b"content-type", b"content-length")]
    return next((value for name, value in raw if name == b"content-type"), b"text/plain"), rest


@lru_cache(maxsize=512)
def _answered(channel: str, hundreds: int) -> Counter:
    """Counts answers; finding a counter by its labels costs more than counting."""
    return metrics.WEBHOOKS.labels(channel, f"{hundreds}xx")


async def _refuse(send: Send, refused: Refused, channel: str) -> None:
    # The channel in an address is anybody's text until a connection was found, so a refusal is counted without it.
    metrics.WEBHOOKS.labels("-" if refused.status == 404 else metrics.known_channel(channel), str(refused.status)).inc()
    body = {"error": {"code": refused.code, "message": refused.message}}
    await respond_json(send, refused.status, body, headers=refused.headers)


async def _connection(channel: str, public_id: str) -> "tuple[Runtime, LiveConnection]":
    runtime = await get_runtime()
    try:
        connection = await runtime.connections.find(channel, public_id)
    except AWAY:
        raise Refused(503, "unavailable", "please try again shortly", wait=1.0) from None
    if connection is None or connection.status == "disabled" or connection.adapter.capabilities.pull:
        raise Refused(404, "not_found", "there is no such webhook")
    return runtime, connection


async def _freeze(scope: Scope, receive: Receive, runtime: "Runtime") -> WebhookRequest:
    method: str = scope["method"]
    if method not in ("GET", "POST"):
        raise Refused(405, "method_not_allowed", "only GET and POST are answered here")
    headers = request_headers(scope)
    body = await read_body(headers, receive, limit=WEBHOOK_BODY)
    path, query = scope["path"], scope["query_string"].decode("latin-1")
    return WebhookRequest(
        method=method,
        path=path,
        query=query,
        headers=headers,
        body=body,
        url=f"{runtime.env.site_url}{path}{'?' + query if query else ''}",
        received_at=datetime.now(UTC),
    )


async def _answer(
    runtime: "Runtime", connection: LiveConnection, request: WebhookRequest
) -> tuple[WebhookResponse, Taken | None]:
    try:
        await _verify(runtime, connection, request)
        events = connection.adapter.parse(request)
        _identified(connection, events)
    except RequestRejected as rejected:
        COUNTERS.note(connection.channel, connection.id, type(rejected).__name__)
        log.info("webhook_refused", connection=str(connection.id), reason=type(rejected).__name__)
        code = "not_authentic" if rejected.http_status == 401 else "malformed"
        raise Refused(rejected.http_status, code, "the request was refused") from None
    if not connection.listening:
        # The platform is answered as usual, so that it does not give the webhook up; nothing is promised to anybody.
        COUNTERS.note(connection.channel, connection.id, "paused")
        return connection.adapter.acknowledge(request, events, [Outcome.IGNORED] * len(events)), None
    asked = _asked(connection, events)
    until = request.received_at.timestamp() + connection.adapter.capabilities.sync_deadline - MARGIN_SECONDS
    with storage():
        hold = until + HOLD_SECONDS if asked is not None else 0.0
        outcomes = await runtime.inbox.accept(connection, request, events, hold=hold)
    for outcome in outcomes:
        COUNTERS.note(connection.channel, connection.id, outcome.value)
    answer, taken = (None, None) if asked is None else await _reply(runtime, connection, request, asked, until=until)
    return connection.adapter.acknowledge(request, events, outcomes, answer), taken


async def _verify(runtime: "Runtime", connection: LiveConnection, request: WebhookRequest) -> None:
    """Verify; an unknown key is looked for once at its source. Raises RequestRejected, or Refused when it is away."""
    runtime.keys.forget_asked()
    try:
        connection.adapter.verify(request)
        return
    except KeyUnknown:
        try:
            fetched = await runtime.keys.refresh()
        except ChannelError as error:
            log.warning("keys_not_fetched", connection=str(connection.id), reason=type(error).__name__)
            raise Refused(503, "unavailable", "please try again shortly", wait=5.0) from None
    if not fetched:
        raise SignatureInvalid("signed by an unknown key")
    connection.adapter.verify(request)


def _identified(connection: LiveConnection, events: Sequence[InboundEvent]) -> None:
    """Refuse events for another application than the one whose credentials we hold (a shared signing secret)."""
    for event in events:
        named = connection.adapter.identify(event)
        if named and named != str(getattr(connection.adapter.credentials, "app_id", "") or named):
            raise PayloadMalformed("meant for another application")


def _asked(connection: LiveConnection, events: Sequence[InboundEvent]) -> InboundMessage | None:
    """The message whose answer the response may carry."""
    if connection.adapter.capabilities.sync_reply == "none":
        return None
    return next((e for e in reversed(events) if isinstance(e, InboundMessage) and e.addressed), None)


async def _reply(
    runtime: "Runtime", connection: LiveConnection, request: WebhookRequest, asked: InboundMessage, *, until: float
) -> tuple[Reply | None, Taken | None]:
    """The answer, where it is there in time and goes out in no other way; else it is delivered later."""
    with storage():
        said = await runtime.chat.find(connection, connection.adapter.dedupe_key(asked, request))
    left = until - time.time()
    if said is None or left <= 0:
        return None, None
    follower = Follower(runtime, tenant_id=connection.tenant_id, said=said)
    message = await follower.done(left)
    if message is None:
        return None, None
    try:
        taken = await runtime.inline.take(said.session_id, UUID(str(message["turn_id"])))
    except AWAY as error:  # it stays in the outbox
        log.warning("answer_not_taken", reason=type(error).__name__)
        taken = None
    return (_as_reply(message, asked.external_id), taken) if taken is not None else (None, None)


def _as_reply(message: Mapping[str, Any], external_id: str) -> Reply:
    choices = tuple(QuickReply(label=label, value=label) for label in message.get("quick_replies") or ())
    return Reply(text=message.get("text") or "", quick_replies=choices, in_reply_to=(external_id,))
