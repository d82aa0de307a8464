"""Redis beside memory: buffers and recalled results, sealed, each key under its tenant. Losing it costs time only."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from memory import buffer as buffers
from memory.cells import cell
from memory.types import Buffer, Key, RecallItem
from tenants.crypto import Vault

BUFFER_SECONDS = 2 * 3600
RESULT_SECONDS = 300
MOST_RESULTS = 64
MOST_WAITING = 4096
"""Buffers that wait to be written; beyond that a write fails at once."""
BATCH = 256

# A writer that was overtaken must not put an older buffer over a newer one; the first 8 bytes are its last seq.
_PUT = """
local held = redis.call('GETRANGE', KEYS[1], 0, 7)
if held == '' or held <= string.sub(ARGV[1], 1, 8) then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) return 1 end
return 0"""
_KEEP = """
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) redis.call('EXPIRE', KEYS[1], ARGV[4]) return 1"""


_Waiting = tuple[str, bytes, "asyncio.Future[None]"]


class Cache:
    """Buffers per session, results per subject."""

    def __init__(self, redis: "Redis", vault: Vault) -> None:
        self._redis = redis
        self._vault = vault
        self._put = redis.register_script(_PUT)
        self._keep = redis.register_script(_KEEP)
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def buffer(self, key: Key, *, at_least: int) -> Buffer | None:
        """The cached buffer, if it has seen `at_least`; None also when Redis does not answer."""
        try:
            blob = cast(bytes | None, await self._redis.get(buffer_key(key.tenant_id, key.session_id)))
        except RedisError:
            return None
        if blob is None or int.from_bytes(blob[:8], "big") < at_least:
            return None
        return buffers.load(self._vault.open(cell(key.tenant_id, "redis", "buffer", key.session_id), blob[8:]))

    async def put_buffer(self, key: Key, buffer: Buffer) -> None:
        """Keep a buffer for two hours. Raises RedisError."""
        sealed = self._vault.seal(cell(key.tenant_id, "redis", "buffer", key.session_id), buffers.dump(buffer))
        value = buffer.last_seq.to_bytes(8, "big") + sealed
        if len(self._waiting) >= MOST_WAITING:
            raise RedisError("too many buffers wait to be written")
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((buffer_key(key.tenant_id, key.session_id), value, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await written

    async def _write(self) -> None:
        """What waits goes in one round trip: a client's cost per call is many times the server's."""
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            failure: Exception | None = None
            try:
                await self._put_all(batch)
            except (RedisError, OSError) as error:
                failure = error if isinstance(error, RedisError) else RedisConnectionError(str(error))
            for _, _, written in batch:
                if written.done():  # its caller went away
                    continue
                if failure is None:
                    written.set_result(None)
                else:
                    written.set_exception(failure)

    async def _put_all(self, batch: "Sequence[_Waiting]") -> None:
        for _ in range(2):
            # By its hash alone: asking beforehand whether the server knows the script costs a round trip of its own.
            async with self._redis.pipeline(transaction=False) as pipe:
                for name, value, _ in batch:
                    pipe.evalsha(self._put.sha, 1, name, value, BUFFER_SECONDS)
                answers = await pipe.execute(raise_on_error=False)
            unknown = [answer for answer in answers if isinstance(answer, NoScriptError)]
            if not unknown:
                break
            await self._redis.script_load(_PUT)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer

    async def results(self, key: Key, asked: bytes) -> list[RecallItem] | None:
        """What an equal question found within the last five minutes, unless a summary landed since."""
        field = self._vault.blind(key.tenant_id, asked)
        try:
            # redis-py types the field as text, but keys and fields of ours are bytes.
            held = await self._redis.hget(results_key(key.tenant_id, key.subject_id), cast(str, field))
            blob = cast(bytes | None, held)
        except RedisError:
            return None
        if blob is None:
            return None
        plain = self._vault.open(cell(key.tenant_id, "redis", "recall", key.subject_id), blob)
        return [_item(row) for row in json.loads(plain)]

    async def put_results(self, key: Key, asked: bytes, items: Sequence[RecallItem]) -> None:
        """Keep a result; at most 64 per subject. Raises RedisError."""
        plain = json.dumps([_row(item) for item in items], ensure_ascii=False).encode("utf-8", "replace")
        sealed = self._vault.seal(cell(key.tenant_id, "redis", "recall", key.subject_id), plain)
        field = self._vault.blind(key.tenant_id, asked)
        name = results_key(key.tenant_id, key.subject_id)
        await self._keep(keys=[name], args=[field, sealed, MOST_RESULTS, RESULT_SECONDS])

    async def drop_results(self, tenant_id: UUID, subject_id: UUID) -> None:
        """Forget what questions about a subject found. Raises RedisError."""
        await self._redis.delete(results_key(tenant_id, subject_id))


def buffer_key(tenant_id: UUID, session_id: UUID) -> str:
    """Where a session's buffer is."""
    return f"memory:{tenant_id}:buffer:{session_id}"


def results_key(tenant_id: UUID, subject_id: UUID) -> str:
    """Where the results of questions about a subject are."""
    return f"memory:{tenant_id}:recall:{subject_id}"


def _row(item: RecallItem) -> list[object]:
    at = item.at.isoformat() if item.at else None
    source = str(item.source_id) if item.source_id else None
    return [item.kind, item.text, item.score, str(item.session_id), list(item.seqs), at, source]


def _item(row: list[object]) -> RecallItem:
    kind, text, score, session_id, seqs, at, source = row
    return RecallItem(
        kind=kind,  # type: ignore[arg-type]
        text=str(text),
        score=float(score),  # type: ignore[arg-type]
        session_id=UUID(str(session_id)),
        seqs=tuple(seqs),  # type: ignore[arg-type]
        at=datetime.fromisoformat(str(at)) if at else None,
        source_id=UUID(str(source)) if source else None,
    )
