"""Whole turns over OneBot v11's reverse WebSocket: we are the chat program that connects to the bot."""

import asyncio
import time
from typing import Any

from tests.benchmarks.callbacks import Callbacks
from tests.benchmarks.load_sockets import Socket
from tests.benchmarks.load_turns import TEXT
from tests.benchmarks.wire import spread

SELF_ID = 10_000
ANSWER_SECONDS = 20.0
_FIRST_USER = 100_000
_next_user = _FIRST_USER


class OneBot(Socket):
    """One account's connection: tells messages, answers the bot's calls."""

    def __init__(self, path: str) -> None:
        super().__init__(path, f"X-Self-ID: {SELF_ID}\r\nX-Client-Role: Universal\r\n")
        self.heard = self._called
        self.waiting: dict[int, asyncio.Future[str]] = {}
        self._messages = 0

    def ask(self, user: int, text: str) -> "asyncio.Future[str]":
        """A private message of a user; the text of the answer to it."""
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting[user] = answered
        self._messages += 1
        event = {"time": int(time.time()), "self_id": SELF_ID, "post_type": "message", "message_type": "private"}
        said = {"message": [{"type": "text", "data": {"text": text}}], "raw_message": text, "font": 0}
        sender = {"user_id": user, "nickname": "Ada", "sex": "unknown", "age": 0}
        self.say(**event, **said, sub_type="friend", message_id=self._messages, user_id=user, sender=sender)
        return answered

    def _called(self, call: dict[str, Any]) -> None:
        params = call["params"]
        self.say(status="ok", retcode=0, data={"message_id": self._messages}, echo=call["echo"])
        message = params["message"]
        text = message if isinstance(message, str) else "".join(part["data"].get("text", "") for part in message)
        answered = self.waiting.pop(int(params["user_id"]), None)
        if answered is not None and not answered.done():
            answered.set_result(text)


async def closed(_: Callbacks, options: dict[str, Any]) -> dict[str, Any]:
    """`slots` people at once, as in `load_turns`, each with 50 conversations (OneBot knows users, so 50 users)."""
    global _next_user
    loop, base, depth = asyncio.get_running_loop(), _next_user, options.get("depth", 50)
    _next_user += options["slots"] * depth
    _transport, socket = await loop.create_connection(lambda: OneBot(options["path"]), "127.0.0.1", options["port"])
    await socket.opened
    times: list[float] = []
    start = time.perf_counter()
    end = start + options["seconds"]

    async def slot(number: int) -> None:
        count = 0
        while (begun := time.perf_counter()) < end:
            async with asyncio.timeout(ANSWER_SECONDS):
                text = await socket.ask(base + number * depth + count % depth, TEXT)
            if not text.startswith(options.get("expects", "")):
                raise ValueError(f"not the model's answer: {text[:80]}")
            times.append(time.perf_counter() - begun)
            count += 1

    try:
        await asyncio.gather(*(slot(number) for number in range(options["slots"])))
        elapsed = time.perf_counter() - start
    finally:
        socket.close()
    return {"count": len(times), "seconds": elapsed, **spread(times)}
