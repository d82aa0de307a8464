"""Small rewritings that make retrieval honest: names out of what is embedded, questions into statements, days into
words."""

import re
from collections.abc import Iterable
from datetime import datetime

from memory.tokens import has_cjk

_OPENING = re.compile(
    r"^\W*(?:what|when|where|who|whom|whose|which|why|how|did|do|does|is|are|was|were|has|have|had|will|would|can|could|"
    r"should)\b[\s']*",
    re.IGNORECASE,
)
_SEVERAL = re.compile(
    r"^\W*(?:what|which)\b(?:\s+\w+){0,2}?\s+(?!(?:is|was|does|has|this|his|its)\b)\w{2,}s\b|\bhow (?:many|often)\b|"
    r"\b(?:kinds?|types?|ways|things)\b|哪些|哪几|几次|几个|多少次",
    re.IGNORECASE,
)
_SPACES = re.compile(r"\s+")
_QUESTION_END = ("?", "？", "吗", "呢")


def declarative(question: str) -> str:
    """An English question without its opening words and mark: nearer to the sentence that answers it."""
    text = question.strip().rstrip("?？ ")
    for _ in range(3):
        shorter = _OPENING.sub("", text)
        if not shorter or shorter == text:
            break
        text = shorter
    return text


def asks_for_several(question: str) -> bool:
    """Whether the answer is a list or a count ("What books has she read?"): its parts stand in different talks."""
    return _SEVERAL.search(question) is not None


def without_names(text: str, names: Iterable[str]) -> str:
    """The text without these names: sentence vectors dwell on names, and whoever greets somebody would win."""
    for name in names:
        pattern = re.escape(name) if has_cjk(name) else rf"\b{re.escape(name)}\b(?:['’]s)?"
        text = re.sub(pattern, " ", text, flags=re.IGNORECASE)
    return _SPACES.sub(" ", text).strip()


def name_words(speaker: str) -> list[str]:
    """How a speaker is called: the whole of a Chinese name, the first word of another."""
    cleaned = speaker.strip().lower()
    if not cleaned:
        return []
    return [cleaned] if has_cjk(cleaned) else [cleaned.split()[0]]


def name_candidates(found: Iterable[str]) -> list[str]:
    """Everything in a question that may be a name: its words, and the two to four character pieces of Chinese runs."""
    candidates: list[str] = []
    for word in found:
        if has_cjk(word):
            candidates += [word[at : at + size] for size in (2, 3, 4) for at in range(len(word) - size + 1)]
        else:
            candidates.append(word)
    return candidates


def day_words(moment: datetime | None) -> str:
    """The day of a line as words that a question may use: "8 May 2023"."""
    return f"{moment.day} {moment:%B} {moment.year}" if moment else ""


def is_question(text: str) -> bool:
    """Whether a line asks rather than tells."""
    return text.rstrip(" 。.!！\"'”").endswith(_QUESTION_END)
