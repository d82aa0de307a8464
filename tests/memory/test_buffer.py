"""The fold is pure and decides the same each time."""

from memory.buffer import dump, fold, load
from memory.types import Buffer, Key, Line, Policy
from tenants.ids import uuid7
from tests.memory.world import round_of

KEY = Key(tenant_id=uuid7(), session_id=uuid7(), subject_id=uuid7())


def test_a_burst_is_one_round_and_an_unanswered_one_never_fills() -> None:
    policy = Policy(rounds=2, keep_rounds=1)
    burst = [Line(1, "user", "a"), Line(2, "user", "b"), Line(3, "assistant", "c"), Line(4, "user", "d")]
    buffer, batch = fold(Buffer(), burst, policy, KEY)
    assert batch is None
    buffer, batch = fold(buffer, [Line(5, "assistant", "e")], policy, KEY)
    assert batch is not None
    assert (batch.first_seq, batch.last_seq) == (1, 5)
    assert [line.seq for line in buffer.lines] == [4, 5]
    assert buffer.open_from == 6


def test_tokens_fill_a_fragment_too() -> None:
    _, batch = fold(Buffer(), round_of(0, "字" * 200, "好"), Policy(tokens=100), KEY)
    assert batch is not None


def test_a_replayed_line_counts_once_and_the_given_buffer_stays() -> None:
    before, _ = fold(Buffer(), round_of(0, "q", "a"), Policy(), KEY)
    after, _ = fold(before, round_of(0, "q", "a"), Policy(), KEY)
    assert after == before
    assert after is not before


def test_without_memory_the_buffer_still_slides() -> None:
    buffer = Buffer()
    for number in range(30):
        buffer, batch = fold(buffer, round_of(number, "q", "a"), Policy(enabled=False, rounds=5, keep_rounds=2), KEY)
        assert batch is None
    assert len(buffer.lines) <= 14


def test_a_buffer_survives_the_trip_through_bytes() -> None:
    buffer, _ = fold(Buffer(), round_of(3, "你好\ud800", "answer"), Policy(), KEY)
    again = load(dump(buffer))
    assert again.lines[1] == buffer.lines[1]
    assert again.lines[0].text == "你好?"
    assert (again.open_from, again.last_seq) == (buffer.open_from, buffer.last_seq)
