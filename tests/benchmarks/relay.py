"""A relay before PostgreSQL and Valkey: it answers later than they do, and counts what is asked.

Run: `python -m tests.benchmarks.relay POSTGRES_SOCKET VALKEY_SOCKET`; lines on standard input: `{"delay": 0.1}` or
`{"counts": true}`, which prints and forgets the counts. A state read is what brings a session's state back: its
checkpoint, its buffer, its lines.
"""

import asyncio
import sys
from collections import Counter
from typing import Any

import orjson
import uvloop

STATE = {"checkpoint": b"SELECT state FROM checkpoint", "lines": b"ORDER BY seq DESC", "buffer": b":buffer:"}


class Relay:
    """Delay and counts of all connections."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.counts: Counter[str] = Counter()

    async def serve(self, target: str, watch: "type[Postgres] | type[Valkey]") -> int:
        """Listen for one server; returns the port."""

        async def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there_reader, there_writer = await asyncio.open_unix_connection(target)
            seen = watch(self.counts)
            await asyncio.gather(self._ask(reader, there_writer, seen), self._answer(there_reader, writer))

        server = await asyncio.start_server(opened, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _ask(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, seen: "Postgres | Valkey") -> None:
        try:
            while data := await reader.read(1 << 16):
                seen.feed(data)
                there.write(data)
        except ConnectionError:
            pass  # the client left without a word
        there.close()

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await there.read(1 << 16):
                loop.call_later(self.delay, writer.write, data)
        except ConnectionError:
            pass  # the server was stopped
        loop.call_later(self.delay, writer.close)


class Postgres:
    """Reads the frontend's messages: which statement each Bind runs, and each round trip's end (Sync)."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._data = b""
        self._started = False
        self._names: dict[bytes, str] = {}

    def feed(self, data: bytes) -> None:
        """Bytes from the client."""
        self._data += data
        while len(self._data) >= 5:
            head = 0 if not self._started else 1
            size = int.from_bytes(self._data[head : head + 4], "big") + head
            if len(self._data) < size:
                return
            message, self._data = self._data[:size], self._data[size:]
            if self._started:
                self._message(message[:1], message[5:])
            self._started = True

    def _message(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._names[name] = next((key for key, part in STATE.items() if part in text), "")
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            if found := self._names.get(name):
                self._counts[found] += 1
        elif kind == b"S":
            self._counts["postgres"] += 1


class Valkey:
    """Counts writes of the client, and the reads of buffers among them."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def feed(self, data: bytes) -> None:
        """Bytes from the client."""
        self._counts["valkey"] += 1
        self._counts["buffer"] += sum(b":buffer:" in part for part in data.split(b"$3\r\nGET\r\n")[1:])


async def main() -> None:
    """Serve until standard input ends."""
    relay = Relay()
    ports = {"postgres": await relay.serve(sys.argv[1], Postgres), "valkey": await relay.serve(sys.argv[2], Valkey)}
    _say(ports)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told = orjson.loads(line)
        relay.delay = told.get("delay", relay.delay)
        _say(dict(relay.counts))
        relay.counts.clear()


def _say(value: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(main())
