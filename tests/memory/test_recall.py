"""Recall in both languages, its limits, and what no dump may contain."""

from typing import cast

import psycopg
import pytest

from memory.embeddings.base import NoEmbedder
from memory.memory import Memory
from memory.tokens import estimate_tokens
from memory.types import Policy
from tests.memory.world import World, round_of

POLICY = Policy(rounds=3, keep_rounds=0, recall_limit=3, recall_tokens=200)
FACTS = [
    ("My daughter Mila started violin lessons in March", "Lovely, I hope she enjoys it"),
    ("I am allergic to walnuts, please remember that", "Noted: no walnuts"),
    ("The office moved to the harbour in Rotterdam", "That must be a nice view"),
    ("我女儿三月开始学小提琴了", "真好，希望她喜欢"),
    ("我对核桃过敏，请记住", "已记录：不吃核桃"),
    ("公司搬到了鹿特丹港口旁边", "风景一定很好"),
]
QUESTIONS = [
    ("What instrument does Mila play?", 1), ("Which nuts can I not eat?", 3), ("Where is our office now?", 5),
    ("我的女儿学什么乐器？", 7), ("我对什么过敏？", 9), ("公司搬到哪里了？", 11),
]  # fmt: skip


@pytest.mark.parametrize("digested", [False, True])
async def test_both_languages_find_their_line(world: World, digested: bool) -> None:
    key = world.key()
    for number, (asked, answered) in enumerate(FACTS):
        await world.say(key, round_of(number, asked, answered), POLICY)
    if digested:
        assert await world.digest() == [True, True]
    asking = world.key(subject=key.subject_id)
    found = [(await world.memory.recall(asking, question, POLICY)).items[:1] for question, _ in QUESTIONS]
    got = [items[0].seqs[0] if items else None for items in found]
    right = sum(seq == want for seq, (_, want) in zip(got, QUESTIONS, strict=True))
    # "Nuts" and "walnuts" share no word: until the batch is written there is no vector to tell.
    assert right >= (6 if digested else 5), got


async def test_limits_hold_and_unrelated_questions_find_nothing(world: World) -> None:
    key = world.key()
    for number, (asked, answered) in enumerate(FACTS):
        await world.say(key, round_of(number, asked, answered), POLICY)
    await world.digest()
    asking = world.key(subject=key.subject_id)
    few = await world.memory.recall(asking, "office violin walnuts 核桃", Policy(recall_limit=2, recall_tokens=1000))
    assert len(few.items) == 2
    short = await world.memory.recall(asking, "office violin walnuts 核桃", Policy(recall_limit=9, recall_tokens=15))
    assert sum(estimate_tokens(item.text) for item in short.items) <= 15
    assert (await world.memory.recall(asking, "xylophagous zzzq", POLICY)).items == []
    assert (await world.memory.recall(asking, "office", Policy(enabled=False))).items == ()
    ranked = await world.memory.recall(asking, "Where is our office now?", POLICY, fusion="rrf")
    assert 5 in {item.seqs[0] for item in ranked.items}


async def test_words_alone_are_enough_without_a_model(world: World) -> None:
    memory = Memory(pools=world.pools, vault=world.vault, embedder=NoEmbedder())
    key = world.key()
    for number, (asked, answered) in enumerate(FACTS):
        await world.say(key, round_of(number, asked, answered), POLICY)
    await world.digest()  # with vectors of a model that this process does not have
    found = await memory.recall(world.key(subject=key.subject_id), "Which nuts? walnuts", POLICY)
    assert found.items[0].seqs == (3,)


async def test_a_model_written_summary_comes_along(world: World) -> None:
    async def tell(batch: object, lines: object) -> str:
        return "The user's daughter plays the violin."

    world.digester._summariser = tell
    key = world.key()
    for number, (asked, answered) in enumerate(FACTS[:3]):
        await world.say(key, round_of(number, asked, answered), POLICY)
    await world.digest()
    found = await world.memory.recall(world.key(subject=key.subject_id), "Mila violin", POLICY)
    assert found.items[-1].kind == "summary"
    assert list(found.items[-1].seqs) == [1, 2, 3, 4, 5, 6]


async def test_a_large_subject_is_narrowed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.subject.MOST_FRAGMENTS", 6)
    policy, key = Policy(rounds=1, keep_rounds=0, recall_limit=1), world.key()
    await world.say(key, round_of(0, "My dentist is called Ottilie", "Good to know"), policy)
    for number in range(1, 12):
        await world.say(key, round_of(number, f"weather report {number}", f"noted {number}"), policy)
    await world.digest()
    found = await world.memory.recall(world.key(subject=key.subject_id), "What is my dentist called?", policy)
    assert found.items[0].seqs == (1,)


async def test_planted_words_are_in_no_table_and_not_in_redis(world: World) -> None:
    canary, zh = "Quixotzephyr", "鹦鹉螺号潜艇"
    key = world.key()
    for number in range(4):
        await world.say(key, round_of(number, f"{canary} lives here {zh}", f"so {canary}", speaker=canary), POLICY)
    await world.memory.recall(world.key(subject=key.subject_id), f"Where does {canary} live?", POLICY)
    await world.digest()
    found = await world.memory.recall(world.key(subject=key.subject_id), f"Where does {canary} live?", POLICY)
    assert canary in found.items[0].text
    dump = b""
    with psycopg.connect(world.superuser_dsn) as conn:
        for table in ("memory_line", "memory_batch", "summary"):
            for form in ("text", "binary"):
                with conn.cursor().copy(f"COPY {table} TO STDOUT (FORMAT {form})") as copy:
                    dump += b"".join(bytes(part) for part in copy)
    names = cast(list[bytes], await world.redis.keys("*"))
    for name in names:
        dump += name + (await world.redis.dump(name) or b"")
    assert len(dump) > 2000
    for planted in (canary, canary.lower(), zh, zh[:3]):
        for written in (planted.encode(), planted.encode().hex().encode(), planted.encode("utf-16-le")):
            assert written not in dump
