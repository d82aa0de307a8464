"""Planted texts, and every place where they must not be found: database, Valkey, files, logs."""

import asyncio
import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import redis
import redis.asyncio

from hub.embedded import binaries
from hub.embedded.account import server_account
from tests.faults.outcome import Result
from tests.faults.rig import Rig, Stack, wait_until

TEXTS: Mapping[str, str] = {
    "message": "CANARYmessage7f3a",
    "sender name": "CANARYname51bc",
    "sender id": "CANARYsender90de",
    "conversation id": "CANARYplace26ab",
    "reply": "CANARYreply88fc",
}
_NOTE = "SELECT count(*) FROM summary WHERE tenant_id = %s"


async def canaries(stack: Stack) -> Result:
    """Talk until a summary is made, then look everywhere."""
    result = Result(name="canary texts at rest")
    async with Rig(stack, policy={"rounds": 2, "keep_rounds": 1}) as rig:
        gateway, _ = await asyncio.gather(rig.gateway(role="all"), rig.worker())
        overheard = _Eavesdropper(stack.layout.redis_url)
        listening = asyncio.create_task(overheard.listen())
        for number in range(5):
            status = await rig.post(gateway, *_said(rig, number))
            result.need(status == 200, f"message {number} was answered {status}")
            await rig.quiet()
        deadline = time.monotonic() + 60
        while not (summaries := (await rig.rows(_NOTE, rig.planted.tenant))[0][0]) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        result.need(summaries, "no summary was made")
        result.need(any(TEXTS["reply"] in seen.text for seen in rig.program.seen), "the reply was not shown")
        await wait_until(lambda: overheard.heard > 0, seconds=10, what="something on Valkey's channels")
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        secrets = {"webhook secret": rig.program.secret.removeprefix("whsec_"), "callback": rig.program.base_url}
        places = await asyncio.to_thread(_places, stack)
        places["Valkey's channels"] = overheard.data
        _search(result, places, {**TEXTS, **secrets}, control=str(rig.planted.tenant))
        result.sent, result.figures["summaries"] = 5, summaries
    return result.done()


def _said(rig: Rig, number: int) -> tuple[bytes, dict[str, str]]:
    words = f"{TEXTS['message']} my name is Ann, number {number}"
    if number % 2:
        words += f' [[text text="{TEXTS["reply"]} {number}"]]'
    data = {
        "conversation": TEXTS["conversation id"],
        "sender": TEXTS["sender id"],
        "sender_name": TEXTS["sender name"],
        "id": f"canary-{number}",
        "text": words,
    }
    body = json.dumps({"type": "message", "data": data}).encode()
    return body, rig.program.sign(body, now=time.time(), headers={"webhook-id": f"msg_canary_{number}"})


def _places(stack: Stack) -> dict[str, bytes]:
    """Everything at rest, by where it is."""
    with psycopg.connect(stack.dsn(), autocommit=True) as conn:
        conn.execute("CHECKPOINT")
    tool = Path(binaries.usable_by(server_account()).initdb).with_name("pg_dump")
    dump = subprocess.run([tool, "--inserts", stack.dsn()], check=True, capture_output=True, timeout=60).stdout
    return {
        "database dump": dump,
        "Valkey": b"\n".join(_valkey(stack.layout.redis_url)),
        "data files": b"\n".join(_files(stack.layout.data_dir)),
        "logs": b"\n".join(_files(stack.logs)),
    }


def _files(folder: Path) -> Iterator[bytes]:
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if path.is_file() and not path.is_symlink() and "models" not in path.parts:
                yield path.read_bytes()


def _valkey(url: str) -> Iterator[bytes]:
    readers = {
        b"string": lambda c, k: c.get(k),
        b"hash": lambda c, k: c.hgetall(k),
        b"list": lambda c, k: c.lrange(k, 0, -1),
        b"set": lambda c, k: c.smembers(k),
        b"zset": lambda c, k: c.zrange(k, 0, -1, withscores=True),
        b"stream": lambda c, k: c.xrange(k),
    }
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(count=1000):
            kind = client.type(key)
            value = readers[kind](client, key) if kind in readers else b""
            yield key + b" " + (value if isinstance(value, bytes) else repr(value).encode())


class _Eavesdropper:
    """Listens to every channel while people talk."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.data = b""
        self.heard = 0

    async def listen(self) -> None:
        async with redis.asyncio.Redis.from_url(self._url) as client, client.pubsub() as channels:
            await channels.psubscribe("*")
            async for message in channels.listen():
                if message["type"] == "pmessage":
                    self.heard += 1
                    self.data += message["channel"] + b" " + message["data"] + b"\n"


def _search(result: Result, places: Mapping[str, bytes], texts: Mapping[str, str], *, control: str) -> None:
    for place, data in places.items():
        for name, text in texts.items():
            for form in forms(text):
                result.need(form not in data, f"{name} is in {place}")
        result.figures[f"bytes of {place}"] = len(data)
    # The search itself works: what must be there is found, and what is planted would be.
    result.need(control.encode() in places["database dump"], "the dump does not even hold the tenant's id")
    result.need(b"runtime_started" in places["logs"], "the logs do not even hold their first line")
    result.need(len(places["data files"]) > 1 << 20, "the data files were not read")


def forms(text: str) -> tuple[bytes, ...]:
    """How a text may lie somewhere: as it is, in hexadecimal as PostgreSQL prints bytes, in base64 at any offset."""
    raw = text.encode()
    shifted = (base64.b64encode(b"\0" * skip + raw) for skip in range(3))
    inner = tuple(code[4:-4] for code in shifted)
    return (raw, raw.hex().encode(), text.encode("utf-16-le"), *inner)
