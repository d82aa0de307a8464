"""A message's whole path, channel by channel."""

from typing import Any
from uuid import UUID

import pytest

from channels_adapters.types import Outcome
from tests.support.world import World


@pytest.mark.parametrize(("channel", "place"), [("webhook", "c1"), ("telegram", "7"), ("slack", "D1")])
async def test_a_message_is_answered_once_where_it_came_from(hub_runtime: World, channel: str, place: str) -> None:
    assert await hub_runtime.arrive(channel, "hello there", number=1, conversation=place) == [Outcome.NEW]
    assert await hub_runtime.arrive(channel, "hello there", number=1, conversation=place) == [Outcome.DUPLICATE]
    await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT status, attempts FROM turn") == [("finished", 1)]
    assert hub_runtime.rows("SELECT status FROM delivery") == [("sent",)]
    shown = hub_runtime.fakes[channel].shown(place)
    assert [text.strip() for text in shown] == ["hello there"]
    assert hub_runtime.quota("concurrency") == (0, 0)


async def test_web_chat_is_a_pull_channel(hub_runtime: World) -> None:
    said = await hub_runtime.say("hello")
    await hub_runtime.quiet()
    history = await hub_runtime.runtime.chat.history(hub_runtime.tenant_id, said.session_id)
    assert [(message.role, message.text) for message in history] == [("user", "hello"), ("assistant", "hello")]
    assert hub_runtime.value("SELECT count(*) FROM delivery") == 0


async def test_new_begins_the_next_generation_at_the_same_address(hub_runtime: World) -> None:
    for number, text in enumerate(("first talk", "/new", "second talk"), start=1):
        await hub_runtime.arrive("telegram", text, number=number, conversation="7")
        await hub_runtime.quiet()
    assert hub_runtime.rows("SELECT generation, current, last_seq FROM session ORDER BY generation") == [
        (1, False, 4),
        (2, True, 2),
    ]
    shown = [text.strip() for text in hub_runtime.fakes["telegram"].shown("7")]
    assert shown[:2] == ["first talk", "This is a new conversation."]
    assert shown[2].endswith("second talk")
    assert "first talk" in shown[2]  # the model echoes its prompt: what was said before is remembered, not repeated
    remembered = hub_runtime.rows("SELECT count(DISTINCT subject_id), count(DISTINCT session_id) FROM memory_line")
    assert remembered == [(1, 2)]


async def test_memory_is_asked_of_those_who_were_met_before(
    hub_runtime: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    recalls: list[Any] = []
    pools = hub_runtime.runtime.pools
    look = pools.look

    async def counted(tenant_id: UUID, *queries: Any) -> Any:
        recalls.extend(query for query in queries if "memory_line" in query[0])
        return await look(tenant_id, *queries)

    monkeypatch.setattr(pools, "look", counted)
    await hub_runtime.say("My tortoise is called Leopold.", conversation="c1", sender_id="ann")
    await hub_runtime.quiet()
    assert not recalls
    await hub_runtime.say("What is my tortoise called?", conversation="c2", sender_id="ann")
    await hub_runtime.quiet()
    assert recalls
    assert "Leopold" in str(hub_runtime.model.calls[-1].body["messages"])
