"""What the scripted model server may be told to do, and the bytes of its answers."""

import base64
import functools
import hashlib
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import orjson

KINDS = ("normal", "slow", "hang", "error", "cut", "bad_json", "long_line", "endless", "tool", "echo", "text")
_MARKER = re.compile(r"\[\[(\w+)((?:\s+\w+=.*?)*)\]\]", re.DOTALL)
_OPTION = re.compile(r"(\w+)=(\{.*\}|\"[^\"]*\"|\S+)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one request gets. Delays in seconds; `times` bounds how often a marker of the same message applies."""

    kind: str = "normal"
    chunks: int = 64
    first_delay: float = 0.0
    delay: float = 0.0
    status: int = 500
    retry_after: str = ""
    code: str = ""
    after: int = 3
    """How many chunks a `cut`, `bad_json` or `long_line` answer sends first."""
    size: int = 1_000_000
    text: str = ""
    name: str = ""
    args: str = "{}"
    calls: int = 1
    """How many tool calls a `tool` answer makes at once."""
    times: int = 0


def plan_from(options: Mapping[str, Any]) -> Plan:
    """A plan from loose options (marker or control endpoint); unknown names are an error."""
    kinds = {f.name: f.type for f in fields(Plan)}
    casts: dict[Any, Any] = {int: int, float: float, str: str}
    plan = Plan(**{name: casts[kinds[name]](value) for name, value in options.items()})
    if plan.kind.isdigit():
        plan = replace(plan, kind="error", status=int(plan.kind))
    if plan.kind == "overflow":
        plan = replace(plan, kind="error", status=400, code="context_length_exceeded")
    if plan.kind == "slow" and not plan.first_delay:
        plan = replace(plan, first_delay=1.0, delay=0.05)
    if plan.kind not in KINDS:
        raise ValueError(f"no such plan: {plan.kind}")
    return plan


def marker(text: str) -> Plan | None:
    """The plan that a message asks for; the last marker counts, because recalled text may carry older ones."""
    found = None
    for found in _MARKER.finditer(text):  # noqa: B007 - the last one is what we want
        pass
    if found is None:
        return None
    options = {name: value.strip('"') for name, value in _OPTION.findall(found[2])}
    return plan_from({"kind": found[1], **options})


def text_of(content: object) -> str:
    """A message's text, whether it is a string or a list of parts."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def frame(model: str, delta: Mapping[str, object], finish: str | None = None) -> bytes:
    """One server-sent event, as one HTTP chunk."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event({**envelope(model, "chat.completion.chunk"), "choices": [choice]})


def event(body: object) -> bytes:
    data = b"data: " + orjson.dumps(body) + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def envelope(model: str, kind: str) -> dict[str, object]:
    return {"id": "chatcmpl-scripted", "object": kind, "created": 1_700_000_000, "model": model}


@functools.lru_cache(maxsize=256)
def text_frames(model: str, words: tuple[str, ...]) -> tuple[bytes, ...]:
    """A whole text answer without usage and [DONE]: role, words, finish."""
    frames = [frame(model, {"role": "assistant", "content": ""})]
    frames += [frame(model, {"content": word}) for word in words]
    return (*frames, frame(model, {}, "stop"))


@functools.lru_cache(maxsize=64)
def numbered(chunks: int) -> tuple[str, ...]:
    return tuple(f"word{i} " for i in range(chunks))


def embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    """Unit vectors drawn from each text's hash: equal texts are equal, others nearly orthogonal."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    size, data = int(body.get("dimensions") or 384), []
    for index, text in enumerate(texts):
        raw = hashlib.shake_128(str(text).encode()).digest(size)
        norm = math.sqrt(sum((b - 127.5) ** 2 for b in raw))
        vector: Any = [(b - 127.5) / norm for b in raw]
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(str(text)) // 4 + 1 for text in texts)
    return {
        "object": "list",
        "model": body.get("model", ""),
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
