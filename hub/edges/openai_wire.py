"""The OpenAI wire format, read and written by hand: what comes in is checked, what goes out is assembled as bytes.

https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from channels_adapters.types import Attachment, AttachmentKind
from hub.edges.guard import Refused

MAX_MESSAGES: Final = 2048
MAX_TOOLS: Final = 128
MAX_NAME: Final = 128
MAX_DEPTH: Final = 100
"""Levels of nesting; the encoder that stores what is asked takes 254 with what is put around it."""
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
_UNSUPPORTED: Final = ("audio", "logprobs", "top_logprobs", "functions", "function_call")
_FINISH: Final = {"length": "length", "tool_calls": "tool_calls", "blocked": "content_filter"}
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A checked request for a completion."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    stream: bool
    include_usage: bool
    user: str
    options: Mapping[str, Any]
    """What the turn is told beside the message: tools, tool_choice, max_tokens, temperature."""

    @property
    def last(self) -> Mapping[str, Any]:
        """The new message."""
        return self.messages[-1]

    @property
    def results(self) -> Sequence[Mapping[str, Any]]:
        """Tool results ahead of the new message that no answer has followed yet, in the client's order."""
        found: list[Mapping[str, Any]] = []
        for message in reversed(self.messages[:-1]):
            if message["role"] == "assistant":
                break
            if message["role"] == "tool":
                found.append(message)
        return found[::-1]


def _bad(message: str, param: str) -> Refused:
    return Refused(400, "invalid_value", message, param=param)


def parse_call(body: bytes) -> Call:
    """The request in a body. Raises Refused (400)."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(400, "invalid_json", "the body is not valid JSON") from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _too_deep(found):
        raise Refused(400, "invalid_json", f"the body is nested deeper than {MAX_DEPTH} levels")
    if not isinstance(found, dict):
        raise Refused(400, "invalid_json", "the body must be a JSON object")
    model, user = found.get("model"), found.get("user") or ""
    if not isinstance(model, str) or not 0 < len(model) <= MAX_NAME:
        raise _bad("model must name an agent", "model")
    if not isinstance(user, str) or len(user) > 512:
        raise _bad("user must be a text of at most 512 characters", "user")
    _refuse_unsupported(found)
    stream = bool(found.get("stream"))
    return Call(
        model=model,
        messages=_messages(found.get("messages")),
        stream=stream,
        include_usage=stream and bool(_object(found, "stream_options").get("include_usage")),
        user=user,
        options=_options(found),
    )


def _too_deep(found: object) -> bool:
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def asked(call: Call) -> str:
    """What a request asks, however it was written; whether the answer is streamed makes no difference."""
    what = [call.model, list(call.messages), call.user, dict(call.options)]
    return orjson.dumps(what, option=orjson.OPT_SORT_KEYS).decode()


def _refuse_unsupported(found: Mapping[str, Any]) -> None:
    if found.get("n") not in (None, 1):
        raise _bad("n must be 1", "n")
    for name in _UNSUPPORTED:
        if found.get(name):
            raise Refused(400, "unsupported_parameter", f"{name} is not supported", param=name)


def _object(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _bad(f"{name} must be an object", name)
    return value


def _messages(found: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(found, list) or not 0 < len(found) <= MAX_MESSAGES:
        raise _bad(f"messages must hold 1 to {MAX_MESSAGES} messages", "messages")
    checked = [_message(item, f"messages[{place}]") for place, item in enumerate(found)]
    if checked[-1]["role"] not in ("user", "tool"):
        raise _bad("the last message must be the user's or a tool's", "messages")
    return checked


def _message(item: object, place: str) -> Mapping[str, Any]:
    role = item.get("role") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(role, str) or role not in _ROLES:
        raise _bad(f"{place}.role must be system, developer, user, assistant or tool", f"{place}.role")
    content = item.get("content")
    if not (isinstance(content, str) or (content is None and role == "assistant")):
        _check_parts(content, place)
    if role == "tool" and not (isinstance(item.get("tool_call_id"), str) and item["tool_call_id"]):
        raise _bad(f"{place}.tool_call_id is missing", f"{place}.tool_call_id")
    if item.get("tool_calls") is not None:
        _check_calls(item["tool_calls"], place)
    return {**item, "role": "system"} if role == "developer" else item


def _check_parts(content: object, place: str) -> None:
    if not isinstance(content, list) or not content:
        raise _bad(f"{place}.content must be a text or a list of parts", f"{place}.content")
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        image = part.get("image_url") if kind == "image_url" else None
        fine = kind == "text" and isinstance(part.get("text"), str)
        fine = fine or (isinstance(image, dict) and isinstance(image.get("url"), str))
        if not fine:
            raise _bad(f"{place}.content holds a part that is neither text nor image_url", f"{place}.content")


def _check_calls(calls: object, place: str) -> None:
    fine = isinstance(calls, list) and all(
        isinstance(call, dict)
        and isinstance(call.get("id"), str)
        and isinstance(call.get("function"), dict)
        and isinstance(call["function"].get("name"), str)
        and isinstance(call["function"].get("arguments", ""), str)
        for call in calls
    )
    if not fine:
        raise _bad(f"{place}.tool_calls is malformed", f"{place}.tool_calls")


def _options(found: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if tools := _tools(found.get("tools")):
        options["tools"] = tools
    if (choice := found.get("tool_choice")) is not None:
        if not isinstance(choice, str | dict):
            raise _bad("tool_choice must be a text or an object", "tool_choice")
        options["tool_choice"] = choice
    limit = found.get("max_completion_tokens", found.get("max_tokens"))
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= 1_000_000:
            raise _bad("max_tokens must be a positive whole number", "max_tokens")
        options["max_tokens"] = limit
    warmth = found.get("temperature")
    if warmth is not None:
        if isinstance(warmth, bool) or not isinstance(warmth, int | float) or not 0 <= warmth <= 2:
            raise _bad("temperature must be between 0 and 2", "temperature")
        options["temperature"] = float(warmth)
    return options


def _tools(found: object) -> list[dict[str, Any]]:
    if found is None:
        return []
    if not isinstance(found, list) or len(found) > MAX_TOOLS:
        raise _bad(f"tools must be a list of at most {MAX_TOOLS}", "tools")
    return [_tool(item, f"tools[{place}]") for place, item in enumerate(found)]


def _tool(item: object, place: str) -> dict[str, Any]:
    function = item.get("function") if isinstance(item, dict) and item.get("type") == "function" else None
    if not isinstance(function, dict):
        raise _bad(f"{place} must be a function", place)
    name, parameters = function.get("name"), function.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not isinstance(parameters, dict):
        raise _bad(f"{place}.function needs a name and parameters", f"{place}.function")
    return {"name": name, "description": str(function.get("description") or ""), "parameters": parameters}


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, its parts joined."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def images_of(message: Mapping[str, Any]) -> list[Attachment]:
    """The images of a message."""
    content = message.get("content")
    if not isinstance(content, list):
        return []
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return [Attachment(kind=AttachmentKind.IMAGE, url=url) for url in urls]


# ---- out -----------------------------------------------------------------------------------------------------------


def error_body(refused: Refused) -> bytes:
    """A refusal in the API's shape."""
    kind = _TYPES.get(refused.status, "invalid_request_error" if refused.status < 500 else "server_error")
    error = {"message": refused.message, "type": kind, "param": refused.param or None, "code": refused.code}
    return orjson.dumps({"error": error})


def usage_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """A stored answer's tokens."""
    used = message.get("usage") or {}
    given, made = used.get("input", 0), used.get("output", 0)
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": used.get("cached", 0)},
    }


def finish_of(message: Mapping[str, Any]) -> str:
    """Why the answer ended, in the API's words."""
    return _FINISH.get(str(message.get("finish", "")), "stop")


def calls_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tool calls that the client is asked to make."""
    return [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in message.get("tool_calls") or ()
    ]


def completion(ident: str, created: int, model: str, message: Mapping[str, Any]) -> bytes:
    """A whole answer."""
    calls = calls_of(message)
    answer: dict[str, Any] = {"role": "assistant", "content": message.get("text") or (None if calls else "")}
    if calls:
        answer["tool_calls"] = calls
    choice = {"index": 0, "message": answer, "logprobs": None, "finish_reason": finish_of(message)}
    return orjson.dumps(
        {
            "id": ident,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [choice],
            "usage": usage_of(message),
        }
    )


class Chunks:
    """Writes the chunks of one stream; the part that never changes is made once."""

    def __init__(self, ident: str, created: int, model: str, *, include_usage: bool) -> None:
        head = {"id": ident, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._usage = include_usage

    def _chunk(self, delta: bytes, finish: bytes = b"null") -> bytes:
        choice = b',"choices":[{"index":0,"delta":' + delta + b',"logprobs":null,"finish_reason":' + finish + b"}]"
        return self._head + choice + self._tail

    def first(self) -> bytes:
        """The opening chunk, which names the role."""
        return self._chunk(b'{"role":"assistant","content":""}')

    def text(self, text: str) -> bytes:
        """A chunk of text."""
        return self._chunk(b'{"content":' + orjson.dumps(text) + b"}")

    def last(self, message: Mapping[str, Any]) -> bytes:
        """Tool calls if any, the reason of the end, usage if it was asked for, and the end mark."""
        calls = [{"index": index, **call} for index, call in enumerate(calls_of(message))]
        data = self._chunk(orjson.dumps({"tool_calls": calls})) if calls else b""
        data += self._chunk(b"{}", orjson.dumps(finish_of(message)))
        if self._usage:
            data += self._head + b',"choices":[],"usage":' + orjson.dumps(usage_of(message)) + b"}\n\n"
        return data + b"data: [DONE]\n\n"

    @staticmethod
    def error(refused: Refused) -> bytes:
        """An error within a stream, which ends it."""
        return b"data: " + error_body(refused) + b"\n\n"
