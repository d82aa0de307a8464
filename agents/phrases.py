"""What a person reads when there is no answer of the model's: polite, in their language, never a provider's words."""

from collections.abc import Mapping
from typing import Literal

from agents.tokens import has_cjk

Phrase = Literal["failed", "blocked", "empty", "cut"]

_PHRASES: Mapping[str, Mapping[Phrase, str]] = {
    "en": {
        "failed": "Sorry, I cannot answer right now. Your message is kept; please try again in a moment.",
        "blocked": "Sorry, I cannot help with that here.",
        "empty": "Sorry, I could not read anything in your message. Could you say it again?",
        "cut": "Sorry, I could not finish this. Please try asking in smaller steps.",
    },
    "zh": {
        "failed": "抱歉，我暂时无法回答。您的消息已保存，请稍后再试。",
        "blocked": "抱歉，这个话题我无法在这里提供帮助。",
        "empty": "抱歉，我没有读到消息内容，可以再说一遍吗？",
        "cut": "抱歉，我没能完成这个请求，请分几步再试一次。",
    },
}


def phrase(name: Phrase, language: str) -> str:
    """The phrase in Chinese or, for every other language, in English."""
    return _PHRASES["zh" if language.lower().startswith("zh") else "en"][name]


def language_of(text: str, preferred: str = "") -> str:
    """The preferred language, else Chinese where the text holds Chinese characters, else English."""
    return preferred or ("zh" if has_cjk(text) else "en")
