"""A message's whole path, channel by channel."""

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
