"""A cheap token estimate: four Latin characters are a token, a Chinese, Japanese or Korean character is one."""


def estimate(text: str) -> int:
    """Tokens of `text`, rather too many than too few; well under a microsecond per hundred characters."""
    if text.isascii():
        return (len(text) + 3) // 4
    length = len(text)
    wide = min(length, (len(text.encode("utf-8", "replace")) - length) // 2 + 1)
    return (length - wide + 3) // 4 + wide


def clip(text: str, tokens: int) -> str:
    """The beginning of `text` that fits into `tokens`."""
    if tokens <= 0:
        return ""
    while (size := estimate(text)) > tokens:
        text = text[: min(len(text) - 1, len(text) * tokens // size)]
    return text


def has_cjk(text: str) -> bool:
    """Whether Chinese characters occur."""
    return not text.isascii() and any("\u3400" <= char <= "\u9fff" for char in text)
