"""Without a model the hub still answers, from memory, in the person's language, and says so."""

from uuid import uuid4

import pytest

from agents.providers.base import ChatRequest, Grounds
from agents.providers.offline import Offline
from agents.types import ModelRoute
from memory.types import Line, RecallItem

ROUTE = ModelRoute(provider="offline", model="offline")


async def answer(grounds: Grounds) -> tuple[str, list[str]]:
    pieces: list[str] = []
    done = await Offline().chat(ROUTE, ChatRequest(messages=(), grounds=grounds), pieces.append)
    return done.text, pieces


async def test_quotes_the_recalled_sentence_and_streams_words() -> None:
    item = RecallItem(kind="line", text="The cat is called Mimi. It rained.", score=1, session_id=uuid4())
    text, pieces = await answer(Grounds(query="What is the cat called?", language="en", recalled=[item]))
    assert "No language model is connected" in text
    assert "- The cat is called Mimi." in text
    assert "rained" not in text
    assert "".join(pieces) == text
    assert len(pieces) > 10


async def test_answers_chinese_in_chinese_from_the_buffer() -> None:
    lines = [Line(1, "user", "我的猫叫咪咪。今天下雨了。"), Line(1, "assistant", "好的")]
    text, pieces = await answer(Grounds(query="我的猫叫什么？", language="", lines=lines))
    assert text.startswith("目前还没有连接语言模型")
    assert "- 我的猫叫咪咪。" in text
    assert "".join(pieces) == text


@pytest.mark.parametrize(
    ("query", "words"), [("anything?", "found nothing"), ("", "found nothing"), ("有什么？", "没有找到")]
)
async def test_says_when_nothing_is_known(query: str, words: str) -> None:
    text, pieces = await answer(Grounds(query=query, language=""))
    assert words in text
    assert "".join(pieces) == text


async def test_its_own_answers_are_not_quoted_back() -> None:
    tea = RecallItem(kind="line", text="I like green tea.", score=1, session_id=uuid4())
    first, _ = await answer(Grounds(query="What tea do I like?", language="en", recalled=[tea]))
    own = RecallItem(kind="line", text=first, score=2, session_id=uuid4())
    again, _ = await answer(Grounds(query="What tea do I like?", language="en", recalled=[own, tea]))
    assert again == first
