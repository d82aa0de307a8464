"""No model is connected: answer from memory by quoting it, in the person's language, and say so. Deterministic."""

import asyncio
import re
from collections.abc import Iterable

from agents.providers.base import ChatRequest, Completion, Grounds, OnText
from agents.tokens import has_cjk
from agents.types import ModelRoute

_LATIN = re.compile(r"[a-z0-9_]{2,}")
_CJK = re.compile(r"[\u3400-\u9fff]+")
_SENTENCE = re.compile(r"[^。！？!?\n.]+[。！？!?.]?")
_PIECE = re.compile(r"[\u3400-\u9fff，。！？：、]{1,4}|\s*\S+?(?=[\u3400-\u9fff\s]|$)|\s+")
_STOP = frozenset(
    re.findall(
        r"\w+", "the and you are was for what with that this have has did does how who why when where can is it my"
    )
)
_MAX_QUOTES = 3
_MAX_SENTENCE = 300

_TEXTS = {
    "en": (
        "No language model is connected yet, so I can only quote what I remember.",
        "This is what I found:",
        "I found nothing about this in memory. Your message is kept.",
    ),
    "zh": (
        "目前还没有连接语言模型，我只能引用记忆中的内容。",
        "我找到了这些：",
        "记忆中没有找到相关内容，您的消息已保存。",
    ),
}


class Offline:
    """The provider that is always there."""

    async def chat(self, route: ModelRoute, request: ChatRequest, on_text: OnText) -> Completion:
        """Answer extractively from the request's grounds; the words leave one after the other."""
        del route  # there is nothing to choose
        text = compose(request.grounds)
        for index, piece in enumerate(_PIECE.findall(text)):
            on_text(piece)
            if index % 8 == 7:
                await asyncio.sleep(0)
        return Completion(text=text, finish="stop")


def compose(grounds: Grounds) -> str:
    """The answer: the notice, then the remembered sentences that share most words with the question."""
    notice, found, nothing = _TEXTS["zh" if grounds.language.startswith("zh") or has_cjk(grounds.query) else "en"]
    quotes = _quotes(grounds)
    if not quotes:
        return f"{notice} {nothing}" if notice.isascii() else notice + nothing
    return "\n".join([f"{notice} {found}" if notice.isascii() else notice + found, *(f"- {quote}" for quote in quotes)])


def _quotes(grounds: Grounds) -> list[str]:
    wanted = _terms(grounds.query)
    if not wanted:
        return []
    remembered = [item.text for item in grounds.recalled]
    said = [line.text for line in reversed(grounds.lines) if line.role == "user"]
    scored: dict[str, tuple[float, int]] = {}
    for order, sentence in enumerate(_sentences([*remembered, *said])):
        overlap = len(wanted & _terms(sentence))
        if overlap and sentence not in scored and sentence not in _OWN and sentence != grounds.query.strip():
            scored[sentence] = (-overlap / len(wanted), order)
    return sorted(scored, key=scored.__getitem__)[:_MAX_QUOTES]


def _sentences(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        for sentence in _SENTENCE.findall(text):
            clean = sentence.strip().removeprefix("- ")[:_MAX_SENTENCE]
            if len(clean) > 1:
                yield clean


_OWN = frozenset(_sentences(text for texts in _TEXTS.values() for text in texts))
"""What this provider says itself: remembered answers of its own are nothing to quote."""


def _terms(text: str) -> set[str]:
    terms = {word for word in _LATIN.findall(text.lower()) if word not in _STOP}
    for run in _CJK.findall(text):
        terms.update(run[i : i + 2] for i in range(len(run) - 1))
    return terms
