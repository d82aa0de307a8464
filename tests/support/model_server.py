"""A scripted model server on a real socket: it speaks OpenAI's chat-completions wire protocol and misbehaves on demand.

What a request gets is decided by, in this order: a marker in the last user message (`[[slow]]`,
`[[429 retry_after=1 times=2]]`, `[[tool name=current_time args={"a": 1}]]`), the queue of plans (`server.script(...)`
or `POST /control`), the default plan. In-process: `async with ModelServer() as server: server.url`. Alone:
`python -m tests.support.model_server --port 0` prints its address as one JSON line. `GET /control/calls` lists the
logged calls, `DELETE /control` forgets everything.
"""

import argparse
import asyncio
import re
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import httptools
import orjson
import uvloop

from tests.support.model_plans import (
    Plan,
    embeddings,
    envelope,
    event,
    frame,
    marker,
    numbered,
    plan_from,
    text_frames,
    text_of,
)


@dataclass(slots=True)
class Call:
    """One logged request: `at` seconds on the monotonic clock, `closed` when the client left before the end."""

    path: str
    model: str
    body: dict[str, Any]
    authorization: str
    plan: str
    at: float = field(default_factory=time.monotonic)
    finished: float = 0.0
    closed: float = 0.0


DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


class _Connection(asyncio.Protocol):
    """One client connection; answers are written by timers, so that nothing blocks and a lost client is noticed."""

    def __init__(self, server: "ModelServer") -> None:
        self.server = server
        self.parser = httptools.HttpRequestParser(self)
        self.transport: Any = None
        self.timer: asyncio.TimerHandle | None = None
        self.call: Call | None = None
        self.url, self.body, self.authorization = b"", b"", ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        if self.timer is not None:
            self.timer.cancel()
        if self.call is not None and not self.call.finished:
            self.call.closed = time.monotonic()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.url, self.body, self.authorization = b"", b"", ""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self.authorization = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        method, path = self.parser.get_method().decode(), self.url.decode().split("?")[0]
        if path.startswith("/control"):
            self.reply(200, self.server.control(method, path, self.body))
        elif path.endswith("/models"):
            data = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.server.models]
            self.reply(200, {"object": "list", "data": data})
        elif path.endswith("/embeddings"):
            body = orjson.loads(self.body)
            self.call = self.server.logged(path, body, self.authorization, "embedding")
            self.reply(200, embeddings(body))
        elif path.endswith("/chat/completions"):
            self.chat(path)
        else:
            self.reply(404, {"error": {"message": "no such path", "type": "not_found"}})

    def chat(self, path: str) -> None:
        body = orjson.loads(self.body)
        plan = self.server.choose(body)
        self.call = self.server.logged(path, body, self.authorization, plan.kind)
        if plan.kind == "hang":
            return
        if plan.first_delay:
            self.timer = asyncio.get_running_loop().call_later(plan.first_delay, self.answer, body, plan)
        else:
            self.answer(body, plan)

    def answer(self, body: dict[str, Any], plan: Plan) -> None:
        if plan.kind == "error":
            self.error(plan)
        elif plan.kind == "endless":
            self.transport.write(STREAM_HEAD)
            self.forever(frame(str(body.get("model", "")), {"content": "on and on "}) * 16, plan.delay or 0.001)
        elif body.get("stream"):
            self.stream(body, plan)
        elif plan.kind in ("cut", "bad_json"):
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n")
            self.transport.write(b'{"choice:' if plan.kind == "bad_json" else b'{"ch')
            self._cut() if plan.kind == "cut" else self._finish()
        else:
            self.reply(200, self.server.whole(body, plan))

    def error(self, plan: Plan) -> None:
        names = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
        error = {"message": f"SECRET provider detail {plan.status}", "code": plan.code or None, "param": None}
        headers = f"Retry-After: {plan.retry_after}\r\n" if plan.retry_after else ""
        self.reply(plan.status, {"error": {**error, "type": names.get(plan.status, "server_error")}}, headers)

    def stream(self, body: dict[str, Any], plan: Plan) -> None:
        frames = list(self.server.frames(body, plan))
        broken = plan.kind in ("cut", "bad_json", "long_line")
        if broken:
            frames = frames[: plan.after + 1]
        if plan.kind == "bad_json":
            frames.append(b'1c\r\ndata: {"choices":[{"delta"\n\n\r\n' + DONE)
        elif plan.kind == "long_line":
            frames += [frame(str(body.get("model", "")), {"content": "x" * plan.size}), DONE]
        elif plan.kind != "cut":
            if (body.get("stream_options") or {}).get("include_usage"):
                usage = self.server.usage(body, len(frames) - 2)
                frames.append(
                    event(
                        {**envelope(str(body.get("model", "")), "chat.completion.chunk"), "choices": [], "usage": usage}
                    )
                )
            frames.append(DONE)
        ends = plan.kind != "cut"
        if plan.delay:
            self.transport.write(STREAM_HEAD)
            self.pace(deque(frames), plan.delay, ends, asyncio.get_running_loop().time())
        else:
            self.transport.write(STREAM_HEAD + b"".join(frames))
            self._finish() if ends else self._cut()

    def pace(self, frames: deque[bytes], delay: float, ends: bool, due: float) -> None:
        """Each frame at its own time, counted from the first: a model does not slow down with its client."""
        if not frames:
            self._finish() if ends else self._cut()
            return
        self.transport.write(frames.popleft())
        due += delay
        self.timer = asyncio.get_running_loop().call_at(due, self.pace, frames, delay, ends, due)

    def forever(self, data: bytes, delay: float) -> None:
        if self.transport.get_write_buffer_size() < 1 << 18:
            self.transport.write(data)
        self.timer = asyncio.get_running_loop().call_later(delay, self.forever, data, delay)

    def reply(self, status: int, body: object, headers: str = "") -> None:
        data = orjson.dumps(body)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
        self.transport.write(head.encode() + data)
        self._finish()

    def _cut(self) -> None:
        # A moment later: a client that learns of the end together with the last bytes may drop those bytes.
        self.timer = asyncio.get_running_loop().call_later(0.02, self.transport.close)

    def _finish(self) -> None:
        if self.call is not None:
            self.call.finished = time.monotonic()


class ModelServer:
    """The server: its address, its script and its log. Nothing here is shared between instances."""

    def __init__(self, default: Plan | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.default = default or Plan()
        self.models = ["scripted", "scripted-large"]
        self.calls: deque[Call] = deque(maxlen=20_000)
        self.count = 0
        self.connections: set[_Connection] = set()
        self.queue: deque[Plan] = deque()
        self._address = (host, port)
        self._marked: Counter[str] = Counter()
        self._previous: dict[str, list[Any]] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), *self._address, backlog=1024)
        self._address = self._server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        return self._address[1]

    @property
    def url(self) -> str:
        """The base URL as OpenAI clients want it, with `/v1`."""
        return f"http://{self._address[0]}:{self.port}/v1"

    def script(self, *plans: Plan) -> None:
        """Answer the next requests by these plans, one each; then the default again."""
        self.queue.extend(plans)

    def reset(self) -> None:
        """Forget script, log and counts; keep the default plan."""
        self.calls.clear()
        self.queue.clear()
        self._marked.clear()
        self._previous.clear()
        self.count = 0

    def logged(self, path: str, body: dict[str, Any], authorization: str, plan: str) -> Call:
        call = Call(path, str(body.get("model", "")), body, authorization, plan)
        self.calls.append(call)
        self.count += 1
        return call

    def choose(self, body: Mapping[str, Any]) -> Plan:
        """The plan for this request: marker, queue, default. A tool result gets its final answer."""
        messages = body.get("messages") or [{}]
        text = text_of(next((m.get("content") for m in reversed(messages) if m.get("role") == "user"), ""))
        plan = marker(text)
        if plan is not None and plan.times:
            self._marked[text] += 1
            plan = plan if self._marked[text] <= plan.times else None
        if plan is None:
            plan = self.queue.popleft() if self.queue else self.default
        if plan.kind == "tool" and messages[-1].get("role") == "tool":
            results = [text_of(m.get("content")) for m in messages if m.get("role") == "tool"][-plan.calls :]
            return replace(plan, kind="text", text=plan.text or "The tool said: " + " ".join(results))
        return replace(plan, text=text) if plan.kind == "echo" else plan

    def words(self, plan: Plan) -> tuple[str, ...]:
        if plan.kind in ("echo", "text"):
            return tuple(re.findall(r"\s*\S+", plan.text)) or ("",)
        return numbered(plan.chunks)

    def frames(self, body: Mapping[str, Any], plan: Plan) -> tuple[bytes, ...]:
        model = str(body.get("model", ""))
        if plan.kind != "tool":
            return text_frames(model, self.words(plan))
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
        for index, call in enumerate(self.tool_calls(body, plan)):
            name, args = call["function"]["name"], call["function"]["arguments"]
            head = {"index": index, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
            half = len(args) // 2
            pieces = ({"index": index, "function": {"arguments": piece}} for piece in (args[:half], args[half:]))
            deltas += [{"tool_calls": [piece]} for piece in (head, *pieces)]
        return (*(frame(model, delta) for delta in deltas), frame(model, {}, "tool_calls"))

    def tool_calls(self, body: Mapping[str, Any], plan: Plan) -> list[dict[str, Any]]:
        tools = body.get("tools") or [{"function": {"name": "missing"}}]
        function = {"name": plan.name or tools[0]["function"]["name"], "arguments": plan.args}
        ids = [f"call_{self.count}", *(f"call_{self.count}_{index}" for index in range(1, plan.calls))]
        return [{"id": ident, "type": "function", "function": function} for ident in ids]

    def whole(self, body: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
        """The answer of a call that does not stream."""
        model = str(body.get("model", ""))
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.words(plan))}
        finish = "stop"
        if plan.kind == "tool":
            message, finish = (
                {"role": "assistant", "content": None, "tool_calls": self.tool_calls(body, plan)},
                "tool_calls",
            )
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        usage = self.usage(body, len(self.words(plan)))
        return {**envelope(model, "chat.completion"), "choices": [choice], "usage": usage}

    def usage(self, body: Mapping[str, Any], output: int) -> dict[str, Any]:
        """Tokens as four characters each; what begins like the model's previous request counts as cached."""
        messages, model = body.get("messages") or [], str(body.get("model", ""))
        sizes = [len(text_of(m.get("content"))) // 4 + 1 for m in messages]
        cached = 0
        for size, now, before in zip(sizes, messages, self._previous.get(model, []), strict=False):
            if now != before:
                break
            cached += size
        self._previous[model] = messages
        total = {"prompt_tokens": sum(sizes), "completion_tokens": output, "total_tokens": sum(sizes) + output}
        return {**total, "prompt_tokens_details": {"cached_tokens": cached}}

    def control(self, method: str, path: str, data: bytes) -> object:
        """The HTTP side of the script: `{"default": {...}, "queue": [{...}]}`, the log, forgetting."""
        if method == "DELETE":
            self.reset()
        elif method == "POST":
            body = orjson.loads(data)
            if "default" in body:
                self.default = plan_from(body["default"])
            self.script(*(plan_from(options) for options in body.get("queue", ())))
        if path.endswith("/calls"):
            return {"count": self.count, "calls": [asdict(call) for call in self.calls]}
        return {"count": self.count, "open": len(self.connections), "queued": len(self.queue)}


async def _serve(options: argparse.Namespace) -> None:
    plan = Plan(chunks=options.chunks, first_delay=options.first_delay, delay=options.delay)
    async with ModelServer(plan, host=options.host, port=options.port) as server:
        sys.stdout.write(orjson.dumps({"url": server.url, "port": server.port}).decode() + "\n")
        sys.stdout.flush()
        stop = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="model_server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=64)
    parser.add_argument("--first-delay", type=float, default=0.0)
    parser.add_argument("--delay", type=float, default=0.0)
    uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
