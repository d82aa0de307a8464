"""L2's sliding buffer: which lines belong in the prompt, and when a fragment is full. Pure; storage is elsewhere."""

from collections.abc import Sequence

from memory.packing import pack_lines, unpack_lines
from memory.tokens import estimate_tokens
from memory.types import Batch, Buffer, Key, Line, Policy
from tenants.ids import uuid7

MOST_LINES = 400
"""A buffer never holds more, whatever the policy says."""


def round_starts(lines: Sequence[Line]) -> list[int]:
    """Where rounds begin: at each line of a user that does not follow another one (a burst is one round)."""
    return [
        index
        for index, line in enumerate(lines)
        if line.role == "user" and (index == 0 or lines[index - 1].role != "user")
    ]


def count_tokens(lines: Sequence[Line]) -> int:
    """About how many model tokens these lines cost in a prompt."""
    return sum(estimate_tokens(line.text) + 4 for line in lines)


def last_rounds(lines: Sequence[Line], rounds: int) -> list[Line]:
    """The lines of the last `rounds` rounds."""
    if rounds <= 0:
        return []
    starts = round_starts(lines)
    return list(lines[starts[-rounds] :]) if len(starts) > rounds else list(lines)


def is_full(lines: Sequence[Line], policy: Policy) -> bool:
    """Whether a fragment has reached the policy's threshold in rounds or tokens. Only answered rounds count."""
    if not lines or lines[-1].role == "user":
        return False
    return len(round_starts(lines)) >= policy.rounds or count_tokens(lines) >= policy.tokens


def fold(buffer: Buffer, lines: Sequence[Line], policy: Policy, key: Key) -> tuple[Buffer, Batch | None]:
    """The buffer after these lines, and the batch that they filled, if one is full. The given buffer is not changed.

    A line whose seq is already held counts once, so folding a replayed turn changes nothing.
    """
    fresh = [line for line in lines if line.seq > buffer.last_seq]
    held = [*buffer.lines, *fresh]
    last = max([buffer.last_seq, *(line.seq for line in fresh)])
    open_lines = [line for line in held if line.seq >= buffer.open_from]
    if not is_full(open_lines, policy):
        return Buffer(held[-MOST_LINES:], buffer.open_from, last), None
    kept = last_rounds(open_lines, policy.keep_rounds)[-MOST_LINES:]
    after = Buffer(kept, open_lines[-1].seq + 1, last)
    if not policy.enabled:
        return after, None
    first, final = open_lines[0].seq, open_lines[-1].seq
    return after, Batch(id=uuid7(), key=key, first_seq=first, last_seq=final, policy=policy)


def rebuild(rows: Sequence[tuple[Line, bool]], policy: Policy) -> Buffer:
    """The buffer from stored lines in order of seq, each with whether a batch has claimed it."""
    claimed = [line for line, taken in rows if taken]
    still_open = [line for line, taken in rows if not taken]
    kept = last_rounds(claimed, policy.keep_rounds) if claimed else []
    opens = claimed[-1].seq + 1 if claimed else 0
    held = (kept + still_open)[-MOST_LINES:]
    return Buffer(held, opens, held[-1].seq if held else 0)


def dump(buffer: Buffer) -> bytes:
    """The buffer as bytes, still in the clear."""
    return buffer.open_from.to_bytes(8, "big") + buffer.last_seq.to_bytes(8, "big") + pack_lines(buffer.lines)


def load(blob: bytes) -> Buffer:
    """The buffer that `dump` wrote."""
    return Buffer(unpack_lines(blob[16:]), int.from_bytes(blob[:8], "big"), int.from_bytes(blob[8:16], "big"))
