"""Redis between processes: wake-ups, stop buttons, and the chunks of running answers, sealed.

All of it may be lost at any time: turns are found by polling, chunks by an honest gap. Valkey itself refuses a stale
writer, because a chunk's stream id is `<epoch>-<index>` and ids only grow.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from hub.pipeline import changed
from hub.pipeline.changed import Change
from hub.pipeline.stream import Chunk, Running
from tenants.crypto import CellRef, Vault
from tenants.errors import TenantsError
from tenants.redis import key, shared_key

log = structlog.get_logger(__name__)

WAKE = shared_key("wake")
STOP = shared_key("stop")
BEGAN = shared_key("began")
_KEPT = 2048
_LIFE_SECONDS = 900
_MOST_QUEUED = 4096


class RedisLink:
    """One writer task and one subscription per process."""

    def __init__(self, redis: Redis, subscriber: Redis, vault: Vault) -> None:
        self._redis = redis
        self._subscriber = subscriber
        self._vault = vault
        self._queue: asyncio.Queue[tuple[UUID, UUID, Chunk]] = asyncio.Queue(_MOST_QUEUED)
        self._tasks: list[asyncio.Task[None]] = []
        self._followed: dict[str, tuple[UUID, UUID]] = {}
        self._waking: set[UUID] = set()
        self._pubsub: Any = None
        self.received: Callable[[UUID, Chunk], None] = lambda *_: None
        self.woken: Callable[[UUID], None] = lambda _: None
        self.stopped: Callable[[UUID], None] = lambda _: None
        self.began: Callable[[UUID, str, UUID], None] = lambda *_: None
        """Called with connection, conversation and session when a chat's session began, here or elsewhere."""
        self.changed: Callable[[Change], None] = lambda _: None
        """Called for each change, here or elsewhere, of what processes remember."""
        self.rejoined: Callable[[], None] = lambda: None
        """Called after the subscription was lost and made again: what was said meanwhile did not come."""

    async def start(self) -> None:
        """Subscribe and begin to write; Redis may be away now and come later."""
        self._pubsub = self._subscriber.pubsub(ignore_subscribe_messages=True)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._writing()), loop.create_task(self._reading())]

    async def stop(self) -> None:
        """End both tasks and the subscription."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._pubsub is not None:
            await self._pubsub.aclose()

    # ---- wake-ups ----------------------------------------------------------------------------------------------

    def wake(self, session_id: UUID) -> None:
        """Tell runners elsewhere that a session is due; what is said at the same moment travels as one message."""
        if not self._waking:
            asyncio.get_running_loop().call_soon(self._wake_all)
        self._waking.add(session_id)

    def _wake_all(self) -> None:
        waking, self._waking = self._waking, set()
        self._later(WAKE, " ".join(session_id.hex for session_id in waking))

    def stop_turn(self, session_id: UUID) -> None:
        """Tell the runner elsewhere that its turn is to end."""
        self._later(STOP, session_id.hex)

    def tell_began(self, connection_id: UUID, conversation: str, session_id: UUID) -> None:
        """Tell all gateways that a chat's session began, for the other pages of the same visitor."""
        self._later(BEGAN, f"{connection_id.hex} {session_id.hex} {conversation}")

    def tell_changed(self, change: Change) -> None:
        """Have every process forget what it remembers of a row, this one included."""
        self._later(changed.CHANNEL, change.pack())

    def _later(self, channel: str, text: str) -> None:
        task = asyncio.get_running_loop().create_task(self._publish(channel, text))
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _publish(self, channel: str, text: str | bytes) -> None:
        try:
            await self._redis.publish(channel, text)
        except (RedisError, OSError) as error:
            log.warning("wake_up_lost", reason=type(error).__name__)

    # ---- chunks ------------------------------------------------------------------------------------------------

    def send(self, tenant_id: UUID, session_id: UUID, chunks: Sequence[Chunk]) -> None:
        """Queue chunks; a full queue drops them, and whoever misses them is told so by a gap."""
        for chunk in chunks:
            try:
                self._queue.put_nowait((tenant_id, session_id, chunk))
            except asyncio.QueueFull:
                return

    async def follow(self, tenant_id: UUID, session_id: UUID) -> None:
        """Receive this session's chunks."""
        channel = key(tenant_id, "live", session_id)
        self._followed[channel] = (tenant_id, session_id)
        try:
            await self._vault.load(tenant_id)
            await self._pubsub.subscribe(channel)
        except (RedisError, OSError) as error:
            log.warning("not_following", reason=type(error).__name__)

    def unfollow(self, tenant_id: UUID, session_id: UUID) -> None:
        """Receive them no longer."""
        channel = key(tenant_id, "live", session_id)
        if self._followed.pop(channel, None) is not None:
            task = asyncio.get_running_loop().create_task(self._unsubscribe(channel))
            self._tasks.append(task)
            task.add_done_callback(self._tasks.remove)

    async def _unsubscribe(self, channel: str) -> None:
        try:
            if channel not in self._followed:
                await self._pubsub.unsubscribe(channel)
        except (RedisError, OSError) as error:
            log.info("not_unsubscribed", reason=type(error).__name__)

    async def backlog(self, tenant_id: UUID, session_id: UUID) -> Running | None:
        """The newest epoch's chunks that Redis still holds, unless that answer is stored. The first may be gone."""
        try:
            await self._vault.load(tenant_id)
            rows: Any = await self._redis.xrange(key(tenant_id, "stream", session_id))
        except (RedisError, OSError) as error:
            log.warning("no_backlog", reason=type(error).__name__)
            return None
        running: Running | None = None
        for entry, values in rows:
            epoch, index = (int(part) for part in _text(entry).split("-"))
            chunk = self._open(tenant_id, session_id, values[b"c"], epoch=epoch, index=index)
            if chunk.type == "end":
                running = None
                continue
            if running is None or running.epoch < epoch:
                running = Running(turn_id=str(chunk.data.get("turn_id", "")), epoch=epoch, whole=index == 1)
            running.note(chunk)
        return running

    async def _writing(self) -> None:
        while True:
            first = await self._queue.get()
            batch = [first]
            while len(batch) < 256 and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                await self._write(batch)
            except (RedisError, OSError, TenantsError) as error:
                log.warning("chunks_lost", reason=type(error).__name__, count=len(batch))

    async def _write(self, batch: Sequence[tuple[UUID, UUID, Chunk]]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for tenant_id, session_id, chunk in batch:
                sealed = self._seal(tenant_id, session_id, chunk)
                if chunk.epoch:
                    name = key(tenant_id, "stream", session_id)
                    pipe.xadd(name, {b"c": sealed}, id=f"{chunk.epoch}-{chunk.index}", maxlen=_KEPT, approximate=True)
                    if chunk.type in ("begin", "end"):
                        pipe.expire(name, _LIFE_SECONDS)
                head = f"{chunk.epoch} {chunk.index} {chunk.seq} ".encode()
                pipe.publish(key(tenant_id, "live", session_id), head + sealed)
            results = await pipe.execute(raise_on_error=False)
        refused = [result for result in results if isinstance(result, ResponseError)]
        if refused:
            log.info("stale_chunks_refused", count=len(refused))

    def _seal(self, tenant_id: UUID, session_id: UUID, chunk: Chunk) -> bytes:
        return self._vault.seal(_cell(tenant_id, session_id), orjson.dumps([chunk.type, chunk.data], default=str))

    def _open(self, tenant_id: UUID, session_id: UUID, sealed: bytes, *, epoch: int, index: int, seq: int = 0) -> Chunk:
        kind, data = orjson.loads(self._vault.open(_cell(tenant_id, session_id), sealed))
        return Chunk(kind, data, epoch, index, seq, len(sealed))

    async def _reading(self) -> None:
        lost = False
        while True:
            try:
                await self._pubsub.subscribe(WAKE, STOP, BEGAN, changed.CHANNEL, *self._followed)
                if lost:
                    lost = False
                    self.rejoined()
                async for message in self._pubsub.listen():
                    try:
                        self._receive(_text(message["channel"]), message["data"])
                    except (TenantsError, ValueError) as error:  # one that cannot be read must not end the reading
                        log.warning("chunk_unreadable", reason=type(error).__name__)
            except (RedisError, OSError) as error:
                lost = True
                log.warning("subscription_lost", reason=type(error).__name__)
                await asyncio.sleep(0.5)

    def _receive(self, channel: str, data: bytes) -> None:
        if channel == WAKE:
            for due in _text(data).split():
                self.woken(UUID(hex=due))
        elif channel == STOP:
            self.stopped(UUID(hex=_text(data)))
        elif channel == changed.CHANNEL:
            self.changed(Change.unpack(_text(data)))
        elif channel == BEGAN:
            connection, began, conversation = _text(data).split(" ", 2)
            self.began(UUID(hex=connection), conversation, UUID(hex=began))
        elif channel in self._followed:
            tenant_id, session_id = self._followed[channel]
            epoch, index, seq, sealed = data.split(b" ", 3)
            chunk = self._open(tenant_id, session_id, sealed, epoch=int(epoch), index=int(index), seq=int(seq))
            if chunk.type != "end":
                self.received(session_id, chunk)


def _cell(tenant_id: UUID, session_id: UUID) -> CellRef:
    return CellRef(tenant_id, "content", "stream", "chunk", session_id)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
