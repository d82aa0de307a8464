"""The OpenAI-compatible door: `/v1/chat/completions` and `/v1/models`, raw ASGI.

The new message is the last user or tool message. With `X-Hub-Session` or `user` the hub's own history and memory count;
with neither the call is stateless and the client's messages are the history. Within a session the results of several
tool calls go on with the turn that asked for them. A client that leaves does not end its turn, and `Idempotency-Key`
gives a second request the answer of the first, or a refusal when it asks something else.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from hub.edges import apiagents, rates
from hub.edges import openai_wire as wire
from hub.edges.answers import Done, Follower, Shown
from hub.edges.apikeys import CHALLENGE, KEYS
from hub.edges.guard import API_BODY, ClientGone, Refused, read_body, request_headers, require_method, until_gone
from hub.edges.http import Header, Receive, Scope, Send, end_stream, more, respond, respond_json, start_stream
from hub.edges.visit import storage
from hub.edges.within import within
from hub.pipeline.chat import Said
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import Unavailable
from hub.pipeline.inbox import AWAY
from hub.pipeline.stream import TooSlow, Watch
from hub.runtime import get_runtime
from tenants.ids import uuid7
from tenants.keys import KeyGrant

if TYPE_CHECKING:
    from hub.runtime import Runtime

log = structlog.get_logger(__name__)

STREAM_SECONDS: Final = 660.0
"""A little more than the longest turn."""
SEND_SECONDS: Final = 30.0
MAX_SESSION: Final = 200
MAX_IDEMPOTENCY_KEY: Final = 255
_REFUSALS: Final = {
    "sessions": "this organisation has used up its conversations",
    "tokens_per_day": "this organisation has used up its tokens of today",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call's message belongs."""

    conversation: str
    sender: str
    client_id: str
    stateless: bool
    once: str = ""
    """What makes a repetition recognisable wherever it is said; empty without an `Idempotency-Key`."""
    digest: str = ""
    """Of what was asked, to tell a repetition from another request under the same key."""


async def completions(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `POST /v1/chat/completions`."""
    started = _Started(send)
    try:
        require_method(scope, "POST")
        headers = request_headers(scope)
        runtime = await get_runtime()
        grant = await _admit(runtime, headers, started)
        _require_json(headers)
        call = wire.parse_call(await read_body(headers, receive, limit=API_BODY))
        connection = await apiagents.connection(runtime, grant, call.model)
        place = _place(headers, call, grant)
        async with _asked(runtime, connection, call, place) as (said, watch):
            follower = Follower(runtime, tenant_id=connection.tenant_id, said=said, watch=watch, alone=place.stateless)
            if call.stream:
                answer = _stream(call, said.message_id, follower, started)
            else:
                limit = float(getattr(connection.adapter.credentials, "wait_limit", 120.0))
                answer = _whole(call, said.message_id, follower, started, seconds=limit)
            await _unless_gone(answer, receive)
    except Refused as refused:
        await _refuse(started, refused)
    except (ClientGone, OSError):
        return
    except Exception:  # the door stays open: logged whole, and told as an internal error with its trace
        trace = uuid7().hex
        log.exception("completion_failed", trace=trace)
        await _refuse(started, Refused(500, "internal", f"something went wrong; the trace is {trace}"))


async def models(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 (an ASGI application)
    """Answer `GET /v1/models` and `GET /v1/models/<name>`: the agents of the key's tenant."""
    started = _Started(send)
    try:
        require_method(scope, "GET")
        runtime = await get_runtime()
        grant = await _admit(runtime, request_headers(scope), started)
        found = [
            {"id": agent.name, "object": "model", "created": agent.created, "owned_by": "hub"}
            for agent in await apiagents.agents(runtime, grant)
        ]
        name = scope["path"].removeprefix("/v1/models").strip("/")
        if not name:
            await respond_json(send, 200, {"object": "list", "data": found}, headers=started.headers)
            return
        await respond_json(send, 200, _one(found, name), headers=started.headers)
    except Refused as refused:
        await _refuse(started, refused)
    except OSError:
        return


def _one(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for model in found:
        if model["id"] == name:
            return model
    raise Refused(404, "model_not_found", f"there is no model {name!r}", param="model")


class _Started:
    """The client's side of an answer, which remembers whether a stream has begun."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.streaming = False
        self.headers: list[Header] = []
        """What every answer to this caller carries."""

    async def more(self, data: bytes) -> None:
        """Send a piece; a client that takes nothing for half a minute counts as gone."""
        try:
            if not self.streaming:
                self.streaming = True
                await within(SEND_SECONDS, start_stream(self.send, headers=self.headers))
            await within(SEND_SECONDS, more(self.send, data))
        except TimeoutError:
            raise ClientGone from None


async def _admit(runtime: "Runtime", headers: Mapping[str, str], started: _Started) -> KeyGrant:
    """The caller, one request counted. Raises Refused: as `ApiKeys.admit`, and 429."""
    grant = await KEYS.admit(runtime, headers.get("authorization", ""), scope="chat")
    try:
        allowance = await rates.spend(runtime, grant.tenant_id, f"key {grant.id}")
    except AWAY:
        raise Refused(503, "unavailable", "please try again shortly", wait=1.0) from None
    started.headers = rates.as_bytes(allowance.openai_headers())
    if allowance.exceeded:
        raise Refused(429, "rate_limit_exceeded", "too many requests in this minute", wait=float(allowance.resets))
    return grant


def _require_json(headers: Mapping[str, str]) -> None:
    # Clients that name no type, or the one that a bare HTTP library fills in, are read as JSON all the same.
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/") or kind == "application/x-www-form-urlencoded":
        raise Refused(415, "unsupported_media_type", "the body must be application/json")


async def _refuse(started: _Started, refused: Refused) -> None:
    if started.streaming:
        await end_stream(started.send, wire.Chunks.error(refused))
        return
    headers = [*started.headers, *refused.headers, *([CHALLENGE] if refused.status == 401 else [])]
    await respond(started.send, refused.status, wire.error_body(refused), headers=headers)


def _place(headers: Mapping[str, str], call: wire.Call, grant: KeyGrant) -> Place:
    session, once = headers.get("x-hub-session", ""), headers.get("idempotency-key", "")
    if len(session) > MAX_SESSION or len(once) > MAX_IDEMPOTENCY_KEY:
        raise Refused(400, "header_too_long", "X-Hub-Session or Idempotency-Key is too long")
    stateless = not session and not call.user
    if stateless:
        conversation = f"call:{_digest(str(grant.id), once) if once else uuid7().hex}"
    else:
        conversation = f"session:{session}" if session else f"user:{call.user}"
    sender = f"user:{call.user}" if call.user else f"key:{grant.id}"
    if not once:
        return Place(conversation, sender, uuid7().hex, stateless)
    name = f"once:{_digest(str(grant.id), once)}"
    return Place(conversation, sender, name, stateless, once=name, digest=_digest(conversation, wire.asked(call)))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


@asynccontextmanager
async def _asked(
    runtime: "Runtime", connection: LiveConnection, call: wire.Call, place: Place
) -> AsyncIterator[tuple[Said, Watch]]:
    """The message, stored, and a watch of its answer."""
    last = call.last
    async with AsyncExitStack() as stack:
        with storage():
            said, watch = await stack.enter_async_context(
                runtime.chat.ask(
                    connection,
                    conversation=place.conversation,
                    sender_id=place.sender,
                    client_id=place.client_id,
                    text=wire.text_of(last),
                    attachments=wire.images_of(last),
                    role=last["role"],
                    tool_call_id=last.get("tool_call_id", "") if last["role"] == "tool" else "",
                    options=_options(call, place),
                    ephemeral=place.stateless,
                    once=place.once,
                )
            )
        if said.duplicate and place.once:
            await _same(runtime, connection, said, place)
        _admitted(said)
        yield said, watch


def _options(call: wire.Call, place: Place) -> dict[str, Any]:
    options = dict(call.options)
    if place.stateless:
        options["history"] = list(call.messages[:-1])
    elif results := call.results:
        # Results of several calls belong to one turn, and a turn here takes one message: the others go along.
        options["results"] = [{"id": item["tool_call_id"], "text": wire.text_of(item)} for item in results]
    if place.digest:
        options["digest"] = place.digest
    return options


def _admitted(said: Said) -> None:
    """Raises Refused for a message that gets no answer."""
    if said.status == "refused":
        wait = 3600.0 if said.reason == "tokens_per_day" else 60.0
        raise Refused(429, "insufficient_quota", _REFUSALS.get(said.reason, "the quota is used up"), wait=wait)
    if said.status == "noted":
        raise Refused(409, "session_with_human", "a person has taken over this session; no answer is written")


async def _same(runtime: "Runtime", connection: LiveConnection, said: Said, place: Place) -> None:
    """Raises Refused (422) when the key's first request asked something else."""
    try:
        first = await runtime.chat.body(connection, said)
    except Unavailable as error:
        raise Refused(503, "unavailable", "please try again shortly", wait=error.retry_after) from error
    if first is None or first.options.get("digest") != place.digest:
        raise Refused(422, "idempotency_key_reused", "this Idempotency-Key was used for another request")


async def _unless_gone(work: Any, receive: Receive) -> None:
    """Do the work until it ends or the client leaves; the turn itself goes on without it."""
    answering = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(until_gone(receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            answering.result()
    finally:
        answering.cancel()
        leaving.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _whole(call: wire.Call, message_id: UUID, follower: Follower, started: _Started, *, seconds: float) -> None:
    message = await follower.done(seconds)
    if message is None:
        raise Refused(504, "answer_late", "the answer takes longer than this call may wait; stream it instead")
    ident = f"chatcmpl-{message_id.hex}"
    await respond(
        started.send, 200, wire.completion(ident, int(time.time()), call.model, message), headers=started.headers
    )


async def _stream(call: wire.Call, message_id: UUID, follower: Follower, started: _Started) -> None:
    chunks = wire.Chunks(f"chatcmpl-{message_id.hex}", int(time.time()), call.model, include_usage=call.include_usage)
    shown = Shown()
    await started.more(chunks.first())
    try:
        async with asyncio.timeout(STREAM_SECONDS):
            async for piece in follower.pieces():
                if isinstance(piece, Done):
                    await _end(chunks, shown, piece.message, started)
                    return
                if text := shown.add(piece):
                    await started.more(chunks.text(text))
    except (TimeoutError, TooSlow):
        raise Refused(504, "answer_late", "the answer did not come in time") from None


async def _end(chunks: wire.Chunks, shown: Shown, message: Mapping[str, Any], started: _Started) -> None:
    rest = shown.finish(message.get("text") or "")
    if rest is None:
        raise Refused(500, "answer_restarted", "the answer was begun anew; ask again with the same Idempotency-Key")
    await end_stream(started.send, (chunks.text(rest) if rest else b"") + chunks.last(message))
