"""Both languages through one tokenizer, and Porter's own examples."""

import pytest

from memory.phrasing import asks_for_several, declarative, is_question, without_names
from memory.stemming import stem
from memory.tokens import estimate_tokens, is_chinese, tokenize


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"), ("ponies", "poni"), ("cats", "cat"), ("agreed", "agre"), ("plastered", "plaster"),
        ("motoring", "motor"), ("conflated", "conflat"), ("hopping", "hop"), ("filing", "file"), ("happy", "happi"),
        ("relational", "relat"), ("vietnamization", "vietnam"), ("triplicate", "triplic"), ("hopefulness", "hope"),
        ("adjustment", "adjust"), ("adoption", "adopt"), ("effective", "effect"), ("rate", "rate"), ("cease", "ceas"),
        ("controlling", "control"), ("generalizations", "gener"), ("is", "is"), ("sky", "sky"),
    ],
)  # fmt: skip
def test_porter(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_english_is_stemmed_and_stripped_of_small_words() -> None:
    assert tokenize("What's Caroline's dogs' running?") == ["carolin", "dog", "run"]


def test_chinese_gives_words_and_bigrams() -> None:
    terms = tokenize("我在香港看电影")
    assert {"香港", "电影", "港看"} <= set(terms)
    assert "我" not in terms


def test_mixed_runs_are_cut_at_the_script() -> None:
    assert {"2008", "nasa", "总决", "决赛"} <= set(tokenize("2008年总决赛NASA公布"))
    assert tokenize("ＮＢＡ") == ["nba"]


def test_estimates_follow_the_script() -> None:
    assert estimate_tokens("") == 0
    assert 20 <= estimate_tokens("a" * 100) <= 30
    assert 60 <= estimate_tokens("汉" * 100) <= 110


def test_phrasing() -> None:
    assert declarative("When did Caroline go to the group?") == "Caroline go to the group"
    assert without_names("Wow, Caroline's dog!", ["caroline"]) == "Wow, dog!"
    assert is_question("你去过吗？")
    assert is_question("Really?!")
    assert not is_question("I went there.")
    assert asks_for_several("What books has Ann read?")
    assert asks_for_several("我去过哪些地方？")
    assert not asks_for_several("What is her name?")
    assert is_chinese("我用iPhone拍照")
    assert not is_chinese("I say 你好 to everybody in this room")
