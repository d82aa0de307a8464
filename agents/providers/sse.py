"""Server-sent events of a chat completion, read by hand: whole network reads in, assembled message out."""

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from agents.errors import ProviderError
from agents.providers.base import Completion
from agents.providers.faults import classify_body
from agents.types import ToolCall

MAX_EVENT = 256 * 1024
"""Bytes of one event; a real delta has a few hundred."""
MAX_TOOL_CALLS = 64
MAX_ARGUMENTS = 256 * 1024
_FINISH: Mapping[str, Literal["stop", "length", "tool_calls", "content"]] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content",
}


class ChatStream:
    """Assembles one streamed completion. `feed` returns the new text of one read, all its deltas joined."""

    __slots__ = ("_calls", "_parts", "_rest", "chars", "done", "finish", "usage")

    def __init__(self) -> None:
        self._rest = b""
        self._parts: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self.chars = 0
        self.done = False
        self.finish: str | None = None
        self.usage: Mapping[str, Any] | None = None

    def feed(self, data: bytes) -> str:
        """Take one network read; raises `ProviderError` where the stream makes no sense."""
        if self._rest:
            data = self._rest + data
        if b"\r" in data:
            data = self._normalised(data)
        *events, self._rest = data.split(b"\n\n")
        if len(self._rest) > MAX_EVENT:
            raise ProviderError("broken_stream", "an event exceeds the limit")
        start = len(self._parts)
        for event in events:
            if self.done:
                break
            self._event(event)
        fresh = "".join(self._parts[start:])
        self.chars += len(fresh)
        return fresh

    def end(self) -> str:
        """The connection ended: take what is left; raises when the answer is not whole."""
        fresh = ""
        if self._rest.strip() and not self.done:
            fresh = self.feed(b"\n\n")
        if not self.done and self.finish is None:
            raise ProviderError("broken_stream", "the stream ended early")
        return fresh

    def text(self) -> str:
        """The answer so far."""
        return "".join(self._parts)

    def completion(self) -> Completion:
        """The whole message; tokens are zero and `estimated` where the server reported none."""
        calls = [ToolCall(id=c[0], name=c[1], arguments="".join(c[2:])) for _, c in sorted(self._calls.items())]
        finish = _FINISH.get(self.finish or "", "stop")
        if calls and finish == "stop":
            finish = "tool_calls"
        return Completion(text=self.text(), finish=finish, tool_calls=calls, **tokens_of(self.usage))

    def _normalised(self, data: bytes) -> bytes:
        if data.endswith(b"\r"):  # the newline that belongs to it may be in the next read
            return data[:-1].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _event(self, event: bytes) -> None:
        if len(event) > MAX_EVENT:
            raise ProviderError("broken_stream", "an event exceeds the limit")
        if event.startswith(b"data: ") and b"\n" not in event:
            payload = event[6:]
        else:
            lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
            payload = b"\n".join(lines)
        if payload == b"[DONE]":
            self.done = True
        elif payload:
            try:
                body = orjson.loads(payload)
                self.take(body)
            except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError, ValueError) as error:
                raise ProviderError("broken_stream", f"unreadable event: {payload[:200]!r}") from error

    def take(self, body: dict[str, Any]) -> None:
        """Add one chunk object; raises `ProviderError` where it reports an error."""
        choices = body.get("choices")
        if choices:
            choice = choices[0]
            if delta := choice.get("delta"):
                if content := delta.get("content"):
                    self._parts.append(content if isinstance(content, str) else str(content))
                if calls := delta.get("tool_calls"):
                    self._tool_deltas(calls)
            if finish := choice.get("finish_reason"):
                self.finish = str(finish)
        elif "error" in body:
            raise classify_body(200, body)
        if usage := body.get("usage"):
            self.usage = usage

    def _tool_deltas(self, deltas: list[dict[str, Any]]) -> None:
        for delta in deltas:
            index = int(delta.get("index") or 0)
            call = self._calls.setdefault(index, ["", ""])
            function = delta.get("function") or {}
            if delta.get("id"):
                call[0] = str(delta["id"])
            if function.get("name"):
                call[1] = str(function["name"])
            if function.get("arguments"):
                call.append(str(function["arguments"]))
                self.chars += len(call[-1])
        if len(self._calls) > MAX_TOOL_CALLS or sum(len(p) for c in self._calls.values() for p in c) > MAX_ARGUMENTS:
            raise ProviderError("broken_stream", "tool calls exceed the limit")


def tokens_of(usage: Mapping[str, Any] | None) -> dict[str, Any]:
    """Token counts of a usage object, DeepSeek's way of naming cached tokens included."""
    if not usage:
        return {"estimated": True}
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
    given = [max(0, int(count)) if isinstance(count, int | float) else 0 for count in counts]
    return {"input_tokens": given[0], "output_tokens": given[1], "cached_tokens": given[2]}


def whole_message(body: Mapping[str, Any]) -> ChatStream:
    """A completion that came as one JSON object, as some servers answer although a stream was asked for."""
    stream = ChatStream()
    choice = body["choices"][0]
    calls = choice["message"].get("tool_calls") or []
    delta = {**choice["message"], "tool_calls": [{**call, "index": index} for index, call in enumerate(calls)]}
    stream.take(
        {
            "choices": [{"delta": delta, "finish_reason": choice.get("finish_reason") or "stop"}],
            "usage": body.get("usage"),
        }
    )
    stream.done = True
    return stream
