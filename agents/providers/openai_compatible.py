"""Any server that speaks OpenAI's chat-completions protocol, streamed over the process's own connections.

An SDK that builds an object per chunk costs twenty times the CPU of reading the events by hand, and the model client
is the largest single cost of a turn; so whole reads are parsed at once and leave together.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import orjson
from yarl import URL

from agents.errors import FaultKind, ProviderError
from agents.providers.base import ChatRequest, Completion, OnText
from agents.providers.faults import classify_body
from agents.providers.sse import ChatStream, whole_message
from agents.providers.wire import Target, Wire, WireFault
from agents.tokens import estimate
from agents.types import ChatMessage, ModelRoute, ToolCall

_MAX_ERROR_BODY: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one model call: seconds, bytes on the wire, characters of the answer."""

    first_byte: float = 20.0
    stall: float = 15.0
    total: float = 120.0
    body: int = 8 * 1024 * 1024
    chars: int = 200_000


class OpenAICompatible:
    """Streams chat completions. The wire is the hub's: it decides which addresses may be reached."""

    def __init__(self, wire: Wire, limits: Limits | None = None) -> None:
        self._wire = wire
        self._limits = limits or Limits()

    async def chat(self, route: ModelRoute, request: ChatRequest, on_text: OnText) -> Completion:
        """One completion; see `Provider.chat`."""
        target = _target(route.base_url, route.api_key)
        clock = _Clock(self._limits)
        answer = _Answer(clock.read, on_text, cap=_cap(request, route, self._limits), most=self._limits.body)
        try:
            async with clock.limit:
                await self._wire.post(target, encode(route, request), answer)
        except TimeoutError as error:
            raise ProviderError("timeout", clock.reason()) from error
        except (WireFault, OSError) as error:
            kind: FaultKind = "broken_stream" if clock.reads else "unavailable"
            raise ProviderError(kind, f"{error}"[:300]) from error
        return _counted(answer.stream().completion(), request)


class _Answer:
    """Takes one answer: a stream of events as it comes; a refusal, or one JSON object, when it is whole."""

    def __init__(self, read: Callable[[], None], on_text: OnText, *, cap: int, most: int) -> None:
        self._read, self._on_text, self._cap, self._most = read, on_text, cap, most
        self._stream = ChatStream()
        self._status, self._headers = 0, dict[str, str]()
        self._size, self._body = 0, bytearray()
        self._streams = False
        self.finished = False

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """As `wire.Receiver`."""
        self._status, self._headers = status, dict(headers)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._streams = status == 200 and kind != "application/json"
        if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise ProviderError("broken_stream", "the answer is packed, which was not asked for", status=status)

    def data(self, data: bytes) -> None:
        """As `wire.Receiver`."""
        self._size += len(data)
        self._read()
        if self._streams:
            self._events(data)
        elif self._status != 200 and self._size > _MAX_ERROR_BODY:
            self._body += data[:_MAX_ERROR_BODY]
            self.finished = True
        else:
            self._body += data
        if self._size > self._most:
            raise ProviderError("broken_stream", "the answer exceeds the byte limit")

    def _events(self, data: bytes) -> None:
        stream = self._stream
        if text := stream.feed(data):
            self._on_text(text)
        if stream.chars > self._cap:
            stream.finish, stream.done = "length", True
        self.finished = stream.done

    def stream(self) -> ChatStream:
        """The whole answer. Raises ProviderError for a refusal, and for what is no whole answer."""
        if self._status != 200:
            raise self._refusal()
        if not self._streams:
            return self._unstreamed()
        if not self._stream.done and (text := self._stream.end()):
            self._on_text(text)
        return self._stream

    def _refusal(self) -> ProviderError:
        if 300 <= self._status < 400:
            return ProviderError("bad_request", "the server redirects", status=self._status)
        data = bytes(self._body[:_MAX_ERROR_BODY])
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            body = data[:300].decode("utf-8", "replace")
        return classify_body(self._status, body, self._headers)

    def _unstreamed(self) -> ChatStream:
        try:
            body = orjson.loads(self._body)
            if "choices" not in body:
                raise classify_body(200, body)
            stream = whole_message(body)
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ProviderError("broken_stream", f"unreadable answer: {bytes(self._body[:200])!r}") from error
        if text := stream.text():
            self._on_text(text)
        return stream


class _Clock:
    """The time limits of one call, re-armed at most once per second or so: a timer per chunk would cost more."""

    def __init__(self, limits: Limits) -> None:
        self._now = asyncio.get_running_loop().time
        now = self._now()
        self._limits, self._end, self._armed = limits, now + limits.total, now
        self._step = min(1.0, limits.stall / 8)
        self.limit = asyncio.timeout_at(now + min(limits.first_byte, limits.total))
        self.reads = 0

    def read(self) -> None:
        now = self._now()
        self.reads += 1
        if self.reads == 1 or now - self._armed > self._step:
            self._armed = now
            self.limit.reschedule(min(now + self._limits.stall + self._step, self._end))

    def reason(self) -> str:
        if not self.reads:
            return "no first byte in time"
        return "too long in all" if self._now() >= self._end else "stalled"


@lru_cache(maxsize=1024)
def _target(base_url: str, api_key: str) -> Target:
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "agent-hub",
    }
    if api_key:
        headers["Authorization"] = "Bearer " + api_key
    try:
        url = URL(base_url.rstrip("/") + "/chat/completions")
        target = Target.of(url, headers)
    except ValueError as error:  # the text names no value: a key must not appear in it
        raise ProviderError("bad_request", "the model's address or key is malformed") from error
    if url.raw_user is not None or url.raw_password is not None:
        raise ProviderError("bad_request", "the model's address must not carry a user or password")
    return target


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
