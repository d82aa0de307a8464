"""A small chat client over WebSocket, in Python with the `websockets` package (docs/chat-protocol.md).

    python chat_client.py https://hub.example.org <public id> "Hello!" "And again."

It keeps what a page keeps (token, session, cursor, what was not acknowledged), comes back after a drop without losing
or doubling a word, and prints each answer.
"""

import asyncio
import contextlib
import json
import random
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

FOR_GOOD = {1008, 4008, 4403, 4404}
"""Closed by the server, and coming back would not help."""


class ChatClient:
    """One visitor. `state` is what to keep between runs: pass it to the next client and the conversation goes on."""

    def __init__(self, base: str, public_id: str, state: dict[str, Any] | None = None) -> None:
        self.address = f"{base.rstrip('/').replace('http', 'ws', 1)}/ws/chat/{public_id}"
        self.state: dict[str, Any] = {"token": "", "session": None, "cursor": ""} | (state or {})
        self.unsaid: dict[str, dict[str, Any]] = {}
        self.running = ""
        self.socket: ClientConnection | None = None

    async def say(self, text: str, **fields: Any) -> str:
        """Queue a message; it is sent until it is acknowledged. `edits=<id>` says an earlier one anew."""
        client_id = str(uuid.uuid4())
        self.unsaid[client_id] = {"type": "say", "client_id": client_id, "text": text, **fields}
        if self.socket is not None:
            await self._send(self.unsaid[client_id])
        return client_id

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Every frame, over as many sockets as it takes. `self.running` is the answer as far as it is written."""
        failures = 0
        while True:
            try:
                async with connect(self.address) as self.socket:
                    async for frame in self._conversation(self.socket):
                        failures = 0
                        yield frame
            except (ConnectionClosed, InvalidStatus, OSError) as error:
                self._weigh(error)
            finally:
                self.socket = None
            failures += 1
            await asyncio.sleep(min(30.0, 0.5 * 2**failures) * random.random())

    def _weigh(self, error: Exception) -> None:
        """Raise again what coming back would not mend."""
        if isinstance(error, InvalidStatus) and error.response.status_code in (403, 404):
            raise error
        code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else 0
        if code in FOR_GOOD:
            raise error
        if code == 4401:  # the token is over: somebody new
            self.state.update(token="", session=None, cursor="")

    async def _conversation(self, socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
        known = {name: value for name, value in self.state.items() if value}
        await self._send({"type": "hello", **known})
        async for text in socket:
            frame = json.loads(text)
            self._note(frame)
            if frame["type"] == "welcome":
                for message in list(self.unsaid.values()):
                    await self._send(message)
            elif frame["type"] == "ping":
                await self._send({"type": "pong"})
            yield frame
            if frame["type"] == "moving":
                return

    def _note(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        self.state["cursor"] = frame.get("cursor", self.state["cursor"])
        if kind in ("welcome", "session", "identified"):
            self.state["token"] = frame.get("token", self.state["token"])
            self.state["session"] = frame["session"]
        elif kind == "ack":
            self.unsaid.pop(frame["client_id"], None)
        elif kind in ("begin", "restart", "reset"):
            self.running = ""
        elif kind == "delta":
            self.running += frame["text"]
        elif kind == "gap":
            self.running = frame["text"]

    async def _send(self, frame: dict[str, Any]) -> None:
        if self.socket is not None:
            with contextlib.suppress(ConnectionClosed):  # `events` comes back and says it again
                await self.socket.send(json.dumps(frame))


async def main(base: str, public_id: str, *texts: str) -> None:
    """Say each text and print its answer."""
    client = ChatClient(base, public_id)
    waiting = list(texts)
    await client.say(waiting.pop(0))
    async for frame in client.events():
        if frame["type"] == "error":
            print(f"{frame['code']}: {frame['message']}", file=sys.stderr)
        elif frame["type"] == "message" and frame["message"]["role"] == "assistant":
            print(frame["message"]["text"])
            if not waiting:
                return
            await client.say(waiting.pop(0))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
