"""Streams: replay and live without loss or double, honest gaps, resets, slow readers, several processes."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis import Redis

from agents.types import TextDelta
from hub.pipeline.stream import (
    MISSING,
    MOST_EVENTS,
    Chunk,
    Cursor,
    Running,
    StreamEvent,
    TooSlow,
    Watch,
    continued,
)
from hub.pipeline.streams import Streams
from tenants.redis import key
from tests.support.model_plans import Plan
from tests.support.patience import PATIENCE
from tests.support.world import World

TENANT, SESSION = uuid4(), uuid4()

_SEEN = "INSERT INTO read_mark (id, tenant_id, seq, updated) VALUES (%s, %s, %s, now())"


def _text(events: Sequence[StreamEvent]) -> str:
    """What a client shows of the running answer."""
    text = ""
    for event in events:
        if event.type == "delta":
            text += event.data["text"]
        elif event.type in ("reset", "restart"):
            text = ""
        elif event.type == "gap":
            text = event.data["text"]
    return text


async def _read(watch: Watch, *, until: str) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    async with asyncio.timeout(PATIENCE):
        async for event in watch:
            events.append(event)
            if event.type == until or (until == "answer" and event.data.get("role") == "assistant"):
                return events
    return events


def _answer(seq: int) -> Chunk:
    return Chunk("message", {"role": "assistant", "turn_id": "t", "text": "x"}, seq=seq)


class Held:
    """Stored messages, handed out when `go_on` is set."""

    def __init__(self, *chunks: Chunk) -> None:
        self.chunks, self.go_on, self.asked = list(chunks), asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def __call__(self, tenant_id: UUID, session_id: UUID, after: int) -> list[Chunk]:
        found = [chunk for chunk in self.chunks if chunk.seq > after]
        self.asked.set()
        await self.go_on.wait()
        return found


@pytest.mark.parametrize("during", [0, 1, 10, 40, 120])
async def test_nothing_is_lost_or_doubled_between_snapshot_and_live(during: int) -> None:
    held = Held()
    held.go_on.clear()
    streams = Streams(held)
    publisher = streams.publisher(TENANT, SESSION, turn_id=uuid4(), epoch=1)
    said = 0

    def speak(times: int) -> None:
        nonlocal said
        for _ in range(times):
            publisher.emit(TextDelta(f"{said} "))
            publisher.flush()
            said += 1

    speak(3)
    events: list[StreamEvent] = []
    async with asyncio.timeout(PATIENCE), streams.watch(TENANT, SESSION, Cursor.START) as watch:
        reading = asyncio.create_task(_read(watch, until="answer"))
        await held.asked.wait()
        speak(during)
        held.go_on.set()
        await asyncio.sleep(0)
        for _ in range(5):
            speak(during)
            await asyncio.sleep(0)
        publisher.close()
        streams.stored(TENANT, SESSION, _answer(1))
        events = await reading
    assert _text(events) == "".join(f"{number} " for number in range(said))


async def test_lost_chunks_are_an_honest_gap() -> None:
    streams = Streams(Held())
    publisher = streams.publisher(TENANT, SESSION, turn_id=uuid4(), epoch=1)
    async with streams.watch(TENANT, SESSION, Cursor.START) as watch:
        for number in range(6):
            publisher.emit(TextDelta(f"{number} "))
            publisher.flush()
        lost = list(watch._queue)
        watch._queue.clear()
        watch._queue.extend(chunk for chunk in lost if chunk.index != 3)
        streams.stored(TENANT, SESSION, _answer(1))
        assert _text(await _read(watch, until="answer")) == "0 1 2 3 4 5 "


async def test_what_nobody_can_tell_any_more_is_not_spliced() -> None:
    streams = Streams(Held())
    async with streams.watch(TENANT, SESSION, Cursor.START) as watch:
        streams.received(SESSION, Chunk("begin", {"turn_id": "t"}, 4, 1))
        streams.received(SESSION, Chunk("delta", {"text": "one "}, 4, 2))
        streams.received(SESSION, Chunk("delta", {"text": "three "}, 4, 4))
        streams.received(SESSION, Chunk("delta", {"text": "four "}, 4, 5))
        streams.stored(TENANT, SESSION, _answer(1))
        events = await _read(watch, until="answer")
    assert _text(events) == "one "
    assert str(events[-1].cursor) == "1.0.0"


async def test_a_late_writer_is_not_shown_after_the_answer() -> None:
    streams = Streams(Held())
    async with streams.watch(TENANT, SESSION, Cursor.START) as watch:
        streams.received(SESSION, Chunk("begin", {"turn_id": "t"}, 5, 1))
        streams.stored(TENANT, SESSION, _answer(1))
        streams.received(SESSION, Chunk("delta", {"text": "late"}, 4, 9))
        streams.received(SESSION, Chunk("delta", {"text": "late"}, 5, 2))
        streams.moving()
        assert [event.type for event in await _read(watch, until="moving")] == ["begin", "message", "moving"]


async def test_a_higher_epoch_resets() -> None:
    streams = Streams(Held())
    async with streams.watch(TENANT, SESSION, Cursor(0, 3, 7)) as watch:
        streams.received(SESSION, Chunk("begin", {"turn_id": "t"}, 4, 1))
        streams.received(SESSION, Chunk("message", {"role": "user"}, seq=1))
        streams.received(SESSION, Chunk("delta", {"text": "new"}, 4, 2))
        events = await _read(watch, until="delta")
    assert [(event.type, str(event.cursor)) for event in events] == [
        ("reset", "0.4.1"),
        ("message", "1.4.1"),
        ("delta", "1.4.2"),
    ]


async def test_a_slow_reader_gets_joined_deltas_then_an_end() -> None:
    streams = Streams(Held())
    publisher = streams.publisher(TENANT, SESSION, turn_id=uuid4(), epoch=1)
    async with streams.watch(TENANT, SESSION, Cursor.START) as watch:
        for _ in range(5000):
            publisher.emit(TextDelta("x"))
            publisher.flush()
        assert len(watch._queue) < 64
        streams.stored(TENANT, SESSION, _answer(1))
        assert _text(await _read(watch, until="answer")) == "x" * 5000
        for number in range(MOST_EVENTS + 2):
            watch.put(Chunk("status", {}, 2, number + 1))
        with pytest.raises(TooSlow):
            await anext(aiter(watch))


async def test_a_cursor_is_arithmetic() -> None:
    assert Cursor.parse("12.3.40") == Cursor(12, 3, 40)
    assert Cursor(2) > Cursor(1, 9, 9) > Cursor(1, 9, 8) > Cursor.START
    for wrong in ("", "1.2", "1.2.x", "-1.2.3", "1.2.3.4", "1.2." + "9" * 19, "１.2.3"):
        with pytest.raises(ValueError):
            Cursor.parse(wrong)


async def _watched(world: World, runtime: Any, session_id: UUID, cursor: Cursor = Cursor.START) -> list[StreamEvent]:
    async with runtime.chat.watch(world.tenant_id, session_id, cursor) as watch:
        return await _read(watch, until="answer")


async def test_a_turn_is_watched_from_another_process(hub_runtime: World) -> None:
    gateway = await hub_runtime.another(role="gateway")
    await hub_runtime.until(lambda: hub_runtime.runtime.streams.shared and gateway.streams.shared)
    hub_runtime.model.script(Plan(chunks=30, delay=0.03))
    said = await hub_runtime.say("tell me")
    events = await _watched(hub_runtime, gateway, said.session_id, Cursor(said.seq))
    assert _text(events).split() == [f"word{number}" for number in range(30)]
    assert events[-1].data["text"] == _text(events)


async def test_a_process_that_comes_in_the_middle_sees_the_whole_answer(hub_runtime: World) -> None:
    hub_runtime.model.script(Plan(chunks=60, delay=0.05))
    said = await hub_runtime.say("tell me")
    await hub_runtime.until(lambda: hub_runtime.model.calls)
    gateway = await hub_runtime.another(role="gateway")
    events = await _watched(hub_runtime, gateway, said.session_id, Cursor(said.seq))
    assert _text(events).split() == [f"word{number}" for number in range(60)]


async def test_who_watched_before_another_process_came_sees_what_that_one_runs(hub_world: World) -> None:
    gateway = await hub_world.another(role="gateway")
    said = await hub_world.say("hello", runtime=gateway)
    async with gateway.chat.watch(hub_world.tenant_id, said.session_id, Cursor(said.seq)) as watch:
        reading = asyncio.create_task(_read(watch, until="answer"))
        await asyncio.sleep(0)
        await hub_world.runtime.start()
        assert (await reading)[-1].data["text"] == "hello"


async def test_who_watched_before_another_process_came_hears_what_was_read_there(hub_world: World) -> None:
    gateway = await hub_world.another(role="gateway")
    said = await hub_world.say("hello", runtime=gateway)
    async with gateway.chat.watch(hub_world.tenant_id, said.session_id, Cursor(said.seq)) as watch:
        async with gateway.stores.pools.app(hub_world.tenant_id) as conn:
            await conn.execute(_SEEN, (said.session_id, hub_world.tenant_id, said.seq))  # and this process is not told
        reading = asyncio.create_task(_read(watch, until="read"))
        await asyncio.sleep(0)
        await hub_world.runtime.start()
        assert (await reading)[-1].data == {"seq": said.seq}


async def test_where_redis_lost_the_chunks_the_saved_text_is_an_honest_gap() -> None:
    async def nothing_stored(*_: Any) -> list[Chunk]:
        return []

    async def saved(*_: Any) -> Running:
        return Running(turn_id="t", epoch=3, index=7, text="what was said")

    streams = Streams(nothing_stored, saved=saved)
    streams.shared = True
    async with streams.watch(TENANT, SESSION, Cursor(1)) as watch:
        event = await anext(aiter(watch))
    assert (event.type, event.data["text"], str(event.cursor)) == ("gap", "what was said", "1.3.7")
    assert event.data["whole"]


def heard(*words: str, first: int, epoch: int = 3) -> Running:
    """An answer as Redis has it when only its chunks from `first` on are left."""
    running = Running(turn_id="", epoch=epoch, whole=first == 1)
    for number, word in enumerate(words, first):
        running.note(Chunk("delta", {"text": word}, epoch, number))
    return running


def stored(text: str, index: int, epoch: int = 3) -> Running:
    return Running(turn_id="t", epoch=epoch, index=index, text=text)


@pytest.mark.parametrize(
    ("saved", "left", "text", "index", "whole"),
    [
        (stored("one two ", 2), heard("three ", "four ", first=3), "one two three four ", 4, True),
        (stored("one two three ", 3), heard("three ", "four ", first=3), "one two three four ", 4, True),
        (stored("one two three four five ", 5), heard("three ", "four ", first=3), "one two three four five ", 5, True),
        (stored("one ", 1), heard("three ", "four ", first=3), f"one {MISSING}three four ", 4, False),
        (None, heard("three ", "four ", first=3), f"{MISSING}three four ", 4, False),
        (stored("one two ", 2), None, "one two ", 2, True),
        (stored("one two ", 2, epoch=2), heard("ONE ", first=1), "ONE ", 1, True),
        (stored("one two ", 2, epoch=4), heard("three ", first=3), "one two ", 2, True),
    ],
)
def test_what_redis_still_has_goes_on_behind_the_saved_text(
    saved: Running | None, left: Running | None, text: str, index: int, whole: bool
) -> None:
    running = continued(saved, left)
    assert running is not None
    gap = running.gap()
    assert (gap.type, gap.data, gap.index) == ("gap", {"text": text, "whole": whole}, index)


async def test_an_answer_whose_beginning_redis_lost_is_shown_from_its_beginning(hub_runtime: World) -> None:
    gateway = await hub_runtime.another(role="gateway")
    await hub_runtime.until(lambda: hub_runtime.runtime.streams.shared and gateway.streams.shared)
    hub_runtime.model.script(Plan(chunks=400, delay=0.2))
    said = await hub_runtime.say("tell me")
    await hub_runtime.until(lambda: hub_runtime.value("SELECT count(*) FROM turn WHERE partial IS NOT NULL"))
    stream = key(hub_runtime.tenant_id, "stream", said.session_id)
    with Redis.from_url(hub_runtime.settings["redis_url"]) as redis:
        redis.delete(stream)
        await hub_runtime.until(lambda: redis.exists(stream))
    event = None
    async with asyncio.timeout(PATIENCE):
        while event is None or not event.data["whole"]:  # until the next second's text is saved, a part is missing
            async with gateway.chat.watch(hub_runtime.tenant_id, said.session_id, Cursor(said.seq)) as watch:
                event = await anext(aiter(watch))
            assert event.type == "gap"
            assert event.data["text"].startswith("word0 ")
            assert (MISSING in event.data["text"]) is not event.data["whole"]
    words = event.data["text"].split()
    assert words == [f"word{number}" for number in range(len(words))]
