"""A shelf survives the trip, and damage is named rather than scored."""

from collections.abc import Iterable
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.packing import ShelfDamaged, pack, unpack
from memory.scoring import Question, score
from memory.shelving import shelve
from memory.subject import episodes
from memory.types import Line
from tenants.crypto import Vault
from tenants.ids import uuid7
from tests.memory.world import MASTER, START


class PlainVault(Vault):
    """Tokens stand for themselves, so that a shelf can be made without a database."""

    def __init__(self) -> None:
        super().__init__(MASTER)

    def lexemes(self, tenant_id: UUID, tokens: Iterable[str]) -> list[str]:
        return list(tokens)


LINES = [Line(7, "user", "I like tea?", "Ann Lee", START), Line(9, "assistant", "喝茶很好", "", START)]
VECTORS = np.eye(2, 384, dtype=np.float32)


def test_a_shelf_survives() -> None:
    shelf = unpack(pack(shelve(PlainVault(), uuid7(), LINES, VECTORS)))
    assert shelf.seqs.tolist() == [7, 9]
    assert shelf.moments.tolist() == [int(START.timestamp())] * 2
    assert shelf.flags.tolist() == [1, 0]
    assert shelf.speakers[0] != 0 == shelf.speakers[1]
    assert np.allclose(shelf.vectors * shelf.scales[:, None], VECTORS, atol=0.01)
    bare = unpack(pack(shelve(PlainVault(), uuid7(), LINES, None)))
    assert not bare.has_vectors
    assert len(bare.terms) == bare.counts.sum()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 900), st.binary(min_size=0, max_size=6))
def test_a_damaged_shelf_never_crashes_anything(cut: int, junk: bytes) -> None:
    blob = pack(shelve(PlainVault(), uuid7(), LINES, VECTORS))
    try:
        unpack(blob[:cut] + junk)
    except ShelfDamaged:
        return
    assert len(blob[:cut] + junk) == len(blob)


def test_talks_end_with_the_session_with_silence_and_with_length() -> None:
    sessions = np.array([0] * 60 + [1] * 3, np.int32)
    moments = np.array([*range(60), 60, 61, 61 + 5 * 3600], np.int64)
    found = episodes(sessions, moments).tolist()
    assert found == [0] * 48 + [1] * 12 + [2, 2, 3]


def test_nothing_remembered_scores_nothing() -> None:
    from memory.subject import _join

    subject = _join([], {}, identity="x")
    empty = np.zeros(0, np.uint32)
    assert len(score(subject.lines, Question(empty, None, empty))) == 0
    with pytest.raises(ShelfDamaged):
        unpack(b"")
