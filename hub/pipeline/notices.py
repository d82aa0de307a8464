"""What the hub itself says to people, in their tenant's language. Never a provider's or platform's raw error."""

_TEXTS = {
    "en": {
        "sessions": "This service has reached its number of conversations for now. Please try again later.",
        "tokens_per_day": "This service has used up its budget for today. Please try again tomorrow.",
        "suspended": "This service is paused for now. Please try again later.",
        "new": "This is a new conversation.",
        "failed": "Sorry, I could not finish an answer to this. Please try again.",
    },
    "zh": {
        "sessions": "当前会话数量已达上限，请稍后再试。",
        "tokens_per_day": "今天的用量已用完，请明天再试。",
        "suspended": "本服务目前已暂停，请稍后再试。",
        "new": "新的对话开始了。",
        "failed": "抱歉，这次没能完成回答，请再试一次。",
    },
}


def text(reason: str, language: str) -> str:
    """The notice for a reason, `failed` for an unknown one."""
    texts = _TEXTS["zh" if language.startswith("zh") else "en"]
    return texts.get(reason, texts["failed"])
