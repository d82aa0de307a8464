"""What the model is given when something was said anew, and of files."""

import base64
from typing import Any

from agents.types import SessionState
from hub.pipeline.bodies import Body
from hub.pipeline.editing import rewound, standing
from hub.pipeline.uploads import CHUNK_BYTES
from memory.types import Buffer, Line
from tenants.ids import uuid7
from tests.edges.test_uploads import png
from tests.support.world import World


def test_one_turn_may_hold_a_message_and_what_replaces_it() -> None:
    places = [(4, uuid7()), (5, uuid7()), (6, uuid7())]
    edit = {"id": str(places[0][1]), "seq": 4}
    bodies = [Body(text="wrogn"), Body(text="and"), Body(text="right", edits=edit)]
    assert standing(places, bodies) == ([places[2]], [bodies[2]])
    plain = [Body(text="a"), Body(text="b"), Body(text="c")]
    assert standing(places, plain) == (places, plain)
    lines = [Line(seq, "user", "x") for seq in (2, 3, 8, 9)]
    state = SessionState(version=3, buffer=Buffer(lines, 2, 9))
    assert rewound(state, places, plain) is state
    after = rewound(state, places, bodies)
    assert ([line.seq for line in after.buffer.lines], after.buffer.last_seq, after.version) == ([2, 3], 9, 3)


async def answered(world: World, said: Any) -> None:
    query = (
        "SELECT count(*) FROM message m JOIN turn t ON t.id = m.turn_id WHERE m.id = %s AND t.finished_at IS NOT NULL"
    )
    await world.until(lambda: world.value(query, said.message_id), what="the answer")


async def test_the_model_is_given_nothing_of_what_was_said_before(hub_runtime: World) -> None:
    first = await hub_runtime.say("My dog is called Rex.")
    await answered(hub_runtime, first)
    second = await hub_runtime.say("He is five.")
    await answered(hub_runtime, second)
    pages, tenant_id = hub_runtime.runtime.chat.pages, hub_runtime.tenant_id
    original = await pages.original(tenant_id, first.session_id, first.message_id)
    assert original.body.text == "My dog is called Rex."
    await pages.take_back(tenant_id, first.session_id, original)
    third = await hub_runtime.say("My dog is called Max.", edits={"id": str(original.id), "seq": original.seq})
    await answered(hub_runtime, third)
    sent = str(hub_runtime.model.calls[-1].body["messages"])
    assert "Max" in sent and "Rex" not in sent and "five" not in sent
    marked = hub_runtime.rows("SELECT seq FROM message WHERE reason = 'superseded' ORDER BY seq")
    assert [seq for (seq,) in marked] == [1, 2, 3, 4]
    assert hub_runtime.value("SELECT min(seq) FROM memory_line") == 2 * third.seq
    fourth = await hub_runtime.say("What is my dog called?")
    await answered(hub_runtime, fourth)
    sent = str(hub_runtime.model.calls[-1].body["messages"])
    assert "Max" in sent and "Rex" not in sent


async def test_the_model_sees_an_uploaded_picture(hub_runtime: World) -> None:
    connection, uploads = await hub_runtime.connection("web"), hub_runtime.runtime.chat.uploads
    picture = png() + b"\0" * CHUNK_BYTES
    stored = await uploads.begin(connection, "c1", name="a.png", media_type="image/png", size=len(picture))
    for position in range(2):
        piece = picture[position * CHUNK_BYTES : (position + 1) * CHUNK_BYTES]
        await uploads.write(hub_runtime.tenant_id, stored.id, position, piece)
    await uploads.finish(hub_runtime.tenant_id, stored.id)
    said = await hub_runtime.say("What is this?", attachments=[stored.attachment()])
    await answered(hub_runtime, said)
    parts = hub_runtime.model.calls[-1].body["messages"][-1]["content"]
    assert parts[1]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(picture).decode()
