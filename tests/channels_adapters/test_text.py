"""Cutting: nothing is lost, nothing is torn, nothing is too long, and what was cut once stays as it is."""

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels_adapters.text import clean, length, open_fence, split

UNITS = ["chars", "utf8_bytes", "utf16"]
SIGNS = st.sampled_from(
    [
        *"abc .!?\n\n  `~#*",
        "\n\n",
        "```py\n",
        "```\n",
        "~~~\n",
        "。",
        "好",
        "é",
        "e\u0301",
        "👩‍👩‍👧",
        "🇩🇪",
        "👍🏽",
        "\ud800",
        "\u3000",
    ]
)
TEXTS = st.lists(SIGNS, max_size=400).map("".join)
PROSE = st.lists(st.sampled_from([*"abcdefg .!?,\n", "好", "。", "👩‍👩‍👧", "🇩🇪", "👍🏽", "e\u0301"]), max_size=400).map(
    "".join
)


def bare(text: str) -> str:
    return re.sub(r"\s", "", clean(text))


@given(text=TEXTS, limit=st.integers(16, 90), unit=st.sampled_from(UNITS))
@settings(max_examples=500, deadline=None)
def test_every_piece_fits(text: Any, limit: Any, unit: Any) -> None:
    for piece in split(text, limit=limit, unit=unit):
        assert length(piece, unit) <= limit
        assert piece.strip()
        piece.encode()  # no half surrogate pairs


@given(text=PROSE, limit=st.integers(16, 90), unit=st.sampled_from(UNITS))
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost_from_prose(text: Any, limit: Any, unit: Any) -> None:
    assert bare("".join(split(text, limit=limit, unit=unit))) == bare(text)


@given(lines=st.lists(st.text("abc 好", min_size=1, max_size=14), min_size=1, max_size=60), limit=st.integers(48, 120))
@settings(max_examples=300, deadline=None)
def test_a_cut_fence_is_closed_and_opened_again_with_its_info(lines: Any, limit: Any) -> None:
    body = "\n".join(line.strip() or "x" for line in lines)
    pieces = split(f"Before\n\n```python title\n{body}\n```\nAfter", limit=limit)
    inner = []
    for piece in pieces:
        assert open_fence(piece) is None
        inner += re.findall(r"```python title\n(.*?)\n```", piece, flags=re.S)
        assert piece.count("```") % 2 == 0
    assert bare("".join(inner)) == bare(body)
    assert bare(re.sub(r"```python title\n.*?\n```", "", "".join(pieces), flags=re.S)) == "BeforeAfter"


@given(text=TEXTS, more=TEXTS, limit=st.integers(16, 90), unit=st.sampled_from(UNITS))
@settings(max_examples=300, deadline=None)
def test_pieces_of_a_growing_text_stay(text: Any, more: Any, limit: Any, unit: Any) -> None:
    """Complete pieces are those behind which another one is certain: the text there is longer than a piece."""
    text = text.strip("\n")
    first, second = split(text, limit=limit, unit=unit), split(text + "x" + more, limit=limit, unit=unit)
    assert second[: max(len(first) - 1, 0)] == first[:-1]


@given(text=PROSE, limit=st.integers(40, 90), unit=st.sampled_from(UNITS))
@settings(max_examples=300, deadline=None)
def test_no_sign_is_torn(text: Any, limit: Any, unit: Any) -> None:
    for piece in split(text, limit=limit, unit=unit):
        assert not unicodedata.combining(piece[0])
        assert piece[0] != "\u200d" and piece[-1] != "\u200d"
        assert not "\U0001f3fb" <= piece[0] <= "\U0001f3ff"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("one two\n\nthree four five six", ["one two", "three four five six"]),
        ("one two three\nfour five six seven", ["one two three", "four five six seven"]),
        ("One two. Three four five six seven", ["One two.", "Three four five six", "seven"]),
        ("一二三四五六七八。九十一二三四五六七八九十一二", ["一二三四五六七八。", "九十一二三四五六七八九十一二"]),
        ("abcdefghijklmnopqrstuvwxyz", ["abcdefghijklmnopqrst", "uvwxyz"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_where_a_reader_would_cut(text: Any, pieces: Any) -> None:
    assert split(text, limit=20) == pieces


def test_a_fence_is_not_opened_at_the_very_end() -> None:
    assert split("some words here\n```python\ncode = 1\nmore = 2\n```", limit=30)[0] == "some words here"


def test_a_long_text_takes_little_time() -> None:
    assert len(split("word " * 200_000, limit=4096)) > 200


def test_too_small_a_limit_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="limit"):
        split("text", limit=8)
