"""Cuts a CommonMark text into pieces that a platform takes, without tearing what a reader sees as one thing.

A cut depends only on what lies before it and on one character behind it, so the pieces of a growing (streamed) text
never change once a following piece exists.
"""

import re
import unicodedata
from dataclasses import dataclass

from channels_adapters.types import LengthUnit

_FENCE = re.compile(r"^([ \t]*(?:>[ \t]?)*)(`{3,}|~{3,})[ \t]*([^\n]*)$")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_LINE = re.compile(r"\n")
_SENTENCE = re.compile(r"[.!?…][\"')\]]*(?=\s)|[。！？；]+[”’」』）]*")
_SPACE = re.compile(r"[ \t\u3000]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_FILL = 0.3
"""A paragraph, line or sentence may end a piece that is filled at least this far; emptier pieces read as torn."""
_LONGEST_CLUSTER = 64
_ZWJ = "\u200d"


@dataclass(frozen=True, slots=True)
class Fence:
    """An open code fence."""

    indent: str
    marker: str
    info: str

    @property
    def opener(self) -> str:
        """The line that opens it again in the next piece."""
        return f"{self.indent}{self.marker}{self.info}\n"

    @property
    def closer(self) -> str:
        """What closes it at the end of a piece."""
        return f"\n{self.indent}{self.marker}"


def clean(text: str) -> str:
    """The text without lone surrogates, which no platform can carry."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def length(text: str, unit: LengthUnit = "chars") -> int:
    """How long a text is in the platform's unit; lone surrogates count as what `clean` makes of them."""
    if unit == "utf8_bytes":
        return len(clean(text).encode())
    return len(clean(text).encode("utf-16-le")) // 2 if unit == "utf16" else len(text)


def split(text: str, *, limit: int, unit: LengthUnit = "chars") -> list[str]:
    """Pieces of at most `limit` units: cut at a paragraph, else a line, a sentence, a space, a grapheme.

    A code fence that is cut is closed, and opened again with its info string in the next piece. White space at a cut
    is dropped outside fences. A blank text has no pieces. Raises ValueError for a limit under 16 units.
    """
    if limit < 16:
        raise ValueError("a limit under 16 units cannot hold a fence")
    rest = clean(text).strip("\n")
    pieces: list[str] = []
    while rest.strip():
        piece, rest = _take(rest, limit, unit)
        if piece.strip():
            pieces.append(piece)
    return pieces


def _take(text: str, limit: int, unit: LengthUnit) -> tuple[str, str]:
    window = _prefix(text, limit, unit)
    if window == len(text):
        return text.rstrip(), ""
    cut = _cut(text, window)
    fence = open_fence(text[:cut])
    if fence is None:
        return text[:cut].rstrip(), text[cut:].lstrip("\n") if text[cut] == "\n" else text[cut:].lstrip(" \u3000")
    return _take_fenced(text, limit, unit)


def _take_fenced(text: str, limit: int, unit: LengthUnit) -> tuple[str, str]:
    """Cut where a fence is open: leave room to close it, or cut before it when next to nothing of it would fit."""
    cut, fence = _room_for_closer(text, limit, unit)
    if fence is None:
        return text[:cut].rstrip(), text[cut:].lstrip("\n")
    start = _fence_start(text[:cut])
    if start > 0 and not text[_line_end(text, start) : cut].strip() and text[:start].strip():
        return text[:start].rstrip(), text[start:]
    overhead = length(fence.opener + fence.closer, unit)
    if overhead > limit // 2 or cut <= len(fence.opener):
        cut = max(_cut(text, _prefix(text, limit, unit)), 1)
        return text[:cut], text[cut:]
    rest = text[cut:].removeprefix("\n")
    return text[:cut].rstrip("\n") + fence.closer, _reopen(fence, rest)


def _room_for_closer(text: str, limit: int, unit: LengthUnit) -> tuple[int, Fence | None]:
    cut = _cut(text, _prefix(text, limit, unit))
    fence = open_fence(text[:cut])
    for _ in range(3):  # a shorter window may end in another fence, which may need more room
        if fence is None or length(text[:cut] + fence.closer, unit) <= limit:
            break
        cut = _cut(text, max(_prefix(text, limit - length(fence.closer, unit), unit), 1))
        fence = open_fence(text[:cut])
    if fence is not None and length(text[:cut].rstrip("\n") + fence.closer, unit) > limit:
        return cut, None
    return cut, fence


def _reopen(fence: Fence, rest: str) -> str:
    """The next piece's text: the fence opened again, unless nothing but its own end was left of it."""
    first, newline, after = rest.partition("\n")
    if _closes(first, fence):
        return after if newline else ""
    return fence.opener + rest


def open_fence(text: str) -> Fence | None:
    """The code fence that is open at the end of `text`, as CommonMark counts them."""
    fence: Fence | None = None
    for line in text.split("\n"):
        if fence is not None:
            fence = None if _closes(line, fence) else fence
        elif "```" in line or "~~~" in line:
            fence = _opens(line)
    return fence


def _opens(line: str) -> Fence | None:
    found = _FENCE.match(line)
    if found is None or (found[2][0] == "`" and "`" in found[3]):
        return None
    return Fence(indent=found[1], marker=found[2], info=found[3].strip())


def _closes(line: str, fence: Fence) -> bool:
    found = _FENCE.match(line)
    return found is not None and not found[3].strip() and found[2].startswith(fence.marker)


def _fence_start(text: str) -> int:
    """Where the line begins that opened the fence which is open at the end of `text`."""
    fence: Fence | None = None
    position = start = 0
    for line in text.split("\n"):
        if fence is not None:
            fence = None if _closes(line, fence) else fence
        else:
            fence, start = _opens(line), position
        position += len(line) + 1
    return start


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _prefix(text: str, limit: int, unit: LengthUnit) -> int:
    """How many characters of `text` fit into `limit` units."""
    head = text[:limit]
    if unit == "utf8_bytes":
        return len(head.encode()[:limit].decode("utf-8", "ignore"))
    if unit == "utf16":
        return len(head.encode("utf-16-le")[: 2 * limit].decode("utf-16-le", "ignore"))
    return len(head)


def _cut(text: str, window: int) -> int:
    """The best place to cut, at most `window` and at least 1."""
    least = int(window * _FILL)
    if window < len(text) and text[window] == "\n":
        return window
    for pattern in (_PARAGRAPH, _LINE, _SENTENCE):
        place = _last(pattern, text, window)
        if place > least:
            return place
    place = _last(_SPACE, text, window)
    return place if place > 0 else _grapheme_cut(text, window)


def _last(pattern: re.Pattern[str], text: str, window: int) -> int:
    """The end of the last match (the start, for white space) inside the window; 0 when there is none."""
    place = 0
    for found in pattern.finditer(text, 0, window):
        place = found.start() if found[0].isspace() else found.end()
    return place


def _grapheme_cut(text: str, window: int) -> int:
    """The last place at or before `window` that is not inside a grapheme (a bounded look back)."""
    for place in range(window, max(window - _LONGEST_CLUSTER, 0), -1):
        if place == len(text) or not _joined(text, place):
            return place
    return max(window, 1)


def _joined(text: str, place: int) -> bool:
    """Whether one visible sign continues across `place` (the common rules of UAX #29)."""
    before, after = text[place - 1], text[place]
    if before == _ZWJ or after == _ZWJ or (before == "\r" and after == "\n"):
        return True
    if unicodedata.category(after) in ("Mn", "Me", "Mc") or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if _regional(before) and _regional(after):
        run = 0
        while run < place and _regional(text[place - 1 - run]):
            run += 1
        return run % 2 == 1
    return "\u1160" <= after <= "\u11ff"  # Hangul vowels and finals join the syllable before them


def _regional(sign: str) -> bool:
    return "\U0001f1e6" <= sign <= "\U0001f1ff"
