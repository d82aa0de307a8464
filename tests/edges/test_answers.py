"""What a client of `/v1/` is sent of a running answer: it cannot take text back."""

from typing import Any
from uuid import uuid4

from hub.edges.answers import Done, Follower, Shown
from hub.pipeline.chat import Said
from hub.pipeline.stream import Cursor, StreamEvent


async def test_an_answer_with_a_part_missing_waits_until_it_is_whole() -> None:
    said = Said(session_id=uuid4(), message_id=uuid4(), seq=1, duplicate=False, status="accepted", reason="")
    nothing: Any = None
    follower, shown = Follower(nothing, tenant_id=uuid4(), said=said, alone=True), Shown()

    async def sent(*events: tuple[str, dict[str, Any]]) -> str:
        pieces = [piece for kind, data in events for piece in await follower._read(StreamEvent(Cursor(1), kind, data))]
        return "".join(shown.add(piece) for piece in pieces if not isinstance(piece, Done))

    assert await sent(("gap", {"text": "\n\n…\n\nthree ", "whole": False}), ("delta", {"text": "four "})) == ""
    assert await sent(("gap", {"text": "one two three four ", "whole": True})) == "one two three four "
    assert await sent(("gap", {"text": "one two …", "whole": False}), ("delta", {"text": "six "})) == ""
    assert await sent(("restart", {}), ("delta", {"text": "one two three four five "})) == "five "
    assert shown.finish("one two three four five six") == "six"
