"""Any server that speaks OpenAI's chat-completions protocol, streamed over one shared HTTP session.

An SDK that builds an object per chunk costs twenty times the CPU of reading the events by hand, and the model client
is the largest single cost of a turn; so whole reads are parsed at once and leave together.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import aiohttp
import orjson
from yarl import URL

from agents.errors import FaultKind, ProviderError
from agents.providers.base import ChatRequest, Completion, OnText
from agents.providers.faults import classify_body
from agents.providers.sse import ChatStream, whole_message
from agents.tokens import estimate
from agents.types import ChatMessage, ModelRoute, ToolCall

_NO_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=10)
_MAX_ERROR_BODY = 64 * 1024
_LAST_BYTES = 0.05
"""Seconds granted to the end of the body after the last event: a body read to its end keeps its connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one model call: seconds, bytes on the wire, characters of the answer."""

    first_byte: float = 20.0
    stall: float = 15.0
    total: float = 120.0
    body: int = 8 * 1024 * 1024
    chars: int = 200_000


def model_session(connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    """A session fit for model calls: no cookies, no proxy from the environment, no time limit of its own."""
    return aiohttp.ClientSession(
        connector=connector or aiohttp.TCPConnector(limit=2000, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=_NO_LIMIT,
        trust_env=False,
        read_bufsize=256 * 1024,
    )


class OpenAICompatible:
    """Streams chat completions. The session is the hub's: it decides which addresses may be reached."""

    def __init__(self, session: aiohttp.ClientSession, limits: Limits | None = None) -> None:
        self._session = session
        self._limits = limits or Limits()

    async def chat(self, route: ModelRoute, request: ChatRequest, on_text: OnText) -> Completion:
        """One completion; see `Provider.chat`."""
        url, headers = _target(route.base_url, route.api_key)
        stream = ChatStream()
        clock = _Clock(self._limits)
        try:
            async with (
                clock.limit,
                self._session.post(
                    url, data=encode(route, request), headers=headers, timeout=_NO_LIMIT, allow_redirects=False
                ) as answer,
            ):
                if answer.status != 200:
                    raise await _refusal(answer)
                if answer.content_type == "application/json":
                    stream = await _unstreamed(answer, self._limits.body, on_text)
                else:
                    await self._read(answer, stream, clock, on_text, _cap(request, route, self._limits))
        except TimeoutError as error:
            raise ProviderError("timeout", clock.reason()) from error
        except aiohttp.ClientError as error:
            kind: FaultKind = "broken_stream" if clock.reads else "unavailable"
            raise ProviderError(kind, f"{type(error).__name__}: {error}"[:300]) from error
        return _counted(stream.completion(), request)

    async def _read(
        self, answer: aiohttp.ClientResponse, stream: ChatStream, clock: "_Clock", on_text: OnText, cap: int
    ) -> None:
        content, size = answer.content, 0
        while not stream.done:
            data = await content.readany()
            if not data:
                if content.at_eof():
                    break
                continue
            size += len(data)
            if size > self._limits.body:
                raise ProviderError("broken_stream", "the answer exceeds the byte limit")
            clock.read()
            if text := stream.feed(data):
                on_text(text)
            if stream.chars > cap:
                stream.finish, stream.done = "length", True
                return
        if text := stream.end():
            on_text(text)
        await _drain(content)


class _Clock:
    """The time limits of one call, re-armed at most once per second or so: a timer per chunk would cost more."""

    def __init__(self, limits: Limits) -> None:
        now = asyncio.get_running_loop().time()
        self._limits, self._end, self._armed = limits, now + limits.total, now
        self._step = min(1.0, limits.stall / 8)
        self.limit = asyncio.timeout_at(now + min(limits.first_byte, limits.total))
        self.reads = 0

    def read(self) -> None:
        now = asyncio.get_running_loop().time()
        self.reads += 1
        if self.reads == 1 or now - self._armed > self._step:
            self._armed = now
            self.limit.reschedule(min(now + self._limits.stall + self._step, self._end))

    def reason(self) -> str:
        if not self.reads:
            return "no first byte in time"
        return "too long in all" if asyncio.get_running_loop().time() >= self._end else "stalled"


@lru_cache(maxsize=1024)
def _target(base_url: str, api_key: str) -> tuple[URL, Mapping[str, str]]:
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if api_key:
        headers["Authorization"] = "Bearer " + api_key
    url = URL(base_url.rstrip("/") + "/chat/completions")
    if url.raw_user is not None or url.raw_password is not None:
        raise ProviderError("bad_request", "the model's address must not carry a user or password")
    return url, headers


def _cap(request: ChatRequest, route: ModelRoute, limits: Limits) -> int:
    """Characters after which an answer is cut: a server that ignores `max_tokens` must not write for ever."""
    tokens = request.max_tokens or route.max_tokens
    return min(limits.chars, tokens * 16) if tokens else limits.chars


def encode(route: ModelRoute, request: ChatRequest) -> bytes:
    """The request body. Tools come encoded already, so that an agent's schemas are built once."""
    body: dict[str, Any] = {
        "model": route.model,
        "messages": [encode_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools.wire:
        body["tools"] = orjson.Fragment(request.tools.wire)
        if request.tool_choice is not None:
            body["tool_choice"] = request.tool_choice
    max_tokens = request.max_tokens or route.max_tokens
    if max_tokens:
        body["max_tokens"] = max_tokens
    temperature = request.temperature if request.temperature is not None else route.temperature
    if temperature is not None:
        body["temperature"] = temperature
    return orjson.dumps(body)


def encode_message(message: ChatMessage) -> dict[str, Any]:
    """One message in OpenAI's shape."""
    plain: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.images:
        images = [{"type": "image_url", "image_url": {"url": image.url}} for image in message.images]
        plain["content"] = [{"type": "text", "text": message.text}, *images]
    if message.tool_calls:
        plain["tool_calls"] = [_encode_call(call) for call in message.tool_calls]
        plain["content"] = message.text or None
    if message.tool_call_id:
        plain["tool_call_id"] = message.tool_call_id
    if message.name and message.role != "tool":  # strict servers know no name there
        plain["name"] = message.name
    return plain


def _encode_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _counted(completion: Completion, request: ChatRequest) -> Completion:
    if not completion.estimated:
        return completion
    asked = sum(estimate(message.text) + 4 for message in request.messages)
    return replace(completion, input_tokens=asked, output_tokens=estimate(completion.text))


async def _drain(content: aiohttp.StreamReader) -> None:
    if not content.at_eof():
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            await asyncio.wait_for(content.readany(), _LAST_BYTES)


async def _bounded(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    while chunk := await answer.content.readany():
        data += chunk
        if len(data) > limit:
            break
    return bytes(data)


async def _refusal(answer: aiohttp.ClientResponse) -> ProviderError:
    data = await _bounded(answer, _MAX_ERROR_BODY)
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        body = data[:300].decode("utf-8", "replace")
    if 300 <= answer.status < 400:
        return ProviderError("bad_request", "the server redirects", status=answer.status)
    return classify_body(answer.status, body, answer.headers)


async def _unstreamed(answer: aiohttp.ClientResponse, limit: int, on_text: OnText) -> ChatStream:
    data = await _bounded(answer, limit)
    try:
        body = orjson.loads(data)
        if "choices" not in body:
            raise classify_body(200, body)
        stream = whole_message(body)
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ProviderError("broken_stream", f"unreadable answer: {data[:200]!r}") from error
    if text := stream.text():
        on_text(text)
    return stream
