"""Session states as bytes: compact for the warm pool, and the small part that a checkpoint must keep."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from agents.types import ChatMessage, Image, SessionState, ToolCall
from memory.types import Buffer, Line

_ROLES = ("user", "assistant", "system", "tool")
_NUMBER = {role: number for number, role in enumerate(_ROLES)}


def pack(state: SessionState) -> bytes:
    """A whole state in one string: objects per line would take six times the memory."""
    buffer = state.buffer
    lines = [_pack_line(line) for line in buffer.lines]
    return orjson.dumps([buffer.open_from, buffer.last_seq, lines, _pack_messages(state.pending_tools)])


def unpack(blob: bytes, version: int) -> SessionState:
    """The state that `pack` wrote."""
    open_from, last_seq, lines, pending = orjson.loads(blob)
    buffer = Buffer([_unpack_line(row) for row in lines], open_from, last_seq)
    return SessionState(version=version, buffer=buffer, pending_tools=_unpack_messages(pending))


def pack_checkpoint(state: SessionState) -> bytes:
    """What memory does not keep: the last seq it must know, and pending client tools."""
    return orjson.dumps([state.buffer.last_seq, _pack_messages(state.pending_tools)])


def unpack_checkpoint(blob: bytes) -> tuple[int, Sequence[ChatMessage]]:
    """The last seq and the pending client tools."""
    last_seq, pending = orjson.loads(blob)
    return int(last_seq), _unpack_messages(pending)


def _pack_line(line: Line) -> list[Any]:
    row: list[Any] = [line.seq, _NUMBER[line.role], line.text]
    if line.speaker or line.at:
        row.append(line.speaker)
    if line.at:
        row.append(line.at)
    return row


def _unpack_line(row: list[Any]) -> Line:
    size = len(row)
    return Line(
        row[0],
        _ROLES[row[1]],  # type: ignore[arg-type]
        row[2],
        row[3] if size > 3 else "",
        datetime.fromisoformat(row[4]) if size > 4 else None,
    )


def _pack_messages(messages: Sequence[ChatMessage]) -> list[list[Any]]:
    return [
        [
            m.role,
            m.text,
            [image.url for image in m.images],
            [[c.id, c.name, c.arguments] for c in m.tool_calls],
            m.tool_call_id,
            m.name,
        ]
        for m in messages
    ]


def _unpack_messages(rows: list[list[Any]]) -> Sequence[ChatMessage]:
    return tuple(
        ChatMessage(
            role=role,
            text=text,
            images=tuple(Image(url=url) for url in images),
            tool_calls=tuple(ToolCall(id=i, name=n, arguments=a) for i, n, a in calls),
            tool_call_id=call_id,
            name=name,
        )
        for role, text, images, calls, call_id, name in rows
    )
