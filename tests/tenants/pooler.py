"""A transaction pooler on a Unix socket: every transaction may land on another server connection, nothing is reset."""

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.patience import PATIENCE

PORT = 6432
_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104


class Backend:
    """One server connection, shared by all clients in turn."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.greeting = b""
        self.key = b""

    @classmethod
    async def connect(cls, socket: Path, user: str, database: str) -> "Backend":
        backend = cls(*await asyncio.open_unix_connection(str(socket)))
        body = (
            struct.pack("!i", 196608)
            + b"".join(part.encode() + b"\0" for part in ("user", user, "database", database))
            + b"\0"
        )
        backend.writer.write(struct.pack("!i", len(body) + 4) + body)
        while True:
            kind, message = await read_message(backend.reader)
            if kind == b"E":
                raise ConnectionError(message)
            if kind == b"K":
                backend.key = message[5:]
            elif kind != b"Z":
                backend.greeting += message
            if kind == b"Z":
                return backend


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


class Pooler:
    """Serves until cancelled; `size` server connections for any number of clients."""

    def __init__(self, *, server_socket: Path, folder: Path, database: str, size: int = 2) -> None:
        self.server_socket = server_socket
        self.folder = folder
        self.database = database
        self.size = size
        self.switches = 0
        self.serving: dict[bytes, Backend] = {}
        self.known = 0

    async def serve(self, ready: threading.Event) -> None:
        self.idle: asyncio.Queue[Backend] = asyncio.Queue()
        for _ in range(self.size):
            self.idle.put_nowait(await Backend.connect(self.server_socket, "hub_login", self.database))
        self.greeting = self.idle._queue[0].greeting  # type: ignore[attr-defined]
        server = await asyncio.start_unix_server(self.client, str(self.folder / f".s.PGSQL.{PORT}"))
        async with server:
            ready.set()
            try:
                await server.serve_forever()
            finally:
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend: Backend | None = None
        relay: asyncio.Task[None] | None = None
        try:
            while True:
                (size,) = struct.unpack("!i", await reader.readexactly(4))
                body = await reader.readexactly(size - 4)
                (code,) = struct.unpack("!i", body[:4])
                if code == _CANCEL:
                    await self.cancel(body[4:])
                    return
                if code not in (_SSL, _GSS):
                    break
                writer.write(b"N")
            self.known += 1
            me = struct.pack("!ii", self.known, 4711)
            writer.write(self.greeting + b"K" + struct.pack("!i", 12) + me + b"Z" + struct.pack("!i", 5) + b"I")
            waiting = {"syncs": 0, "open": False}
            while True:
                kind, message = await read_message(reader)
                if kind == b"X":
                    break
                if relay is None or relay.done():
                    backend = await self.idle.get()
                    self.switches += 1
                    waiting.update(syncs=0, open=False)
                    self.serving[me] = backend
                    relay = asyncio.create_task(self.relay(backend, writer, waiting, me))
                if kind in (b"Q", b"S"):
                    waiting["syncs"] += 1
                    waiting["open"] = False
                else:
                    waiting["open"] = True
                assert backend is not None
                backend.writer.write(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if relay is not None and not relay.done():
                assert backend is not None
                backend.writer.write(b"Q" + struct.pack("!i", 4 + 9) + b"ROLLBACK\0")
            writer.close()

    async def relay(self, backend: Backend, writer: asyncio.StreamWriter, waiting: dict[str, int], me: bytes) -> None:
        while True:
            kind, message = await read_message(backend.reader)
            if not writer.is_closing():
                writer.write(message)
            if kind == b"Z":
                waiting["syncs"] -= 1
                if message[5:6] == b"I" and waiting["syncs"] <= 0 and not waiting["open"]:
                    self.serving.pop(me, None)
                    self.idle.put_nowait(backend)
                    return

    async def cancel(self, key: bytes) -> None:
        backend = self.serving.get(key)
        if backend is not None:
            reader, writer = await asyncio.open_unix_connection(str(self.server_socket))
            writer.write(struct.pack("!ii", 8 + len(backend.key), _CANCEL) + backend.key)
            await reader.read()
            writer.close()


@contextmanager
def running_pooler(*, server_socket: Path, folder: Path, database: str) -> Iterator[Pooler]:
    pooler = Pooler(server_socket=server_socket, folder=folder, database=database)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    task = loop.create_task(pooler.serve(ready))

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield pooler
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)
