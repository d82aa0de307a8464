"""How things look on a terminal: aligned tables, words coloured by what they mean, sizes and ages for people."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import click

_COLOURS = {
    "green": ("ok", "active", "valid", "sent", "finished", "alive", "yes", "running", "final", "accepted"),
    "yellow": ("note", "paused", "suspended", "unknown", "retry", "pending", "expired", "stopped", "skipped", "due"),
    "red": ("BAD", "dead", "failed", "revoked", "disabled", "gone", "refused", "full"),
}
_NUMBER = re.compile(r"[\d,]+|no limit|\d+ %|-")
"""What stands at the right of its column."""
_MEANING = {word: colour for colour, words in _COLOURS.items() for word in words}


def paint(word: str) -> str:
    """A status word in the colour of its meaning; click takes colours away where nobody sees them."""
    colour = _MEANING.get(word.strip())
    return click.style(word, fg=colour) if colour else word


def bold(text: str) -> str:
    """A heading."""
    return click.style(text, bold=True)


def dim(text: str) -> str:
    """Something said aside."""
    return click.style(text, dim=True)


def columns(text: str) -> int:
    """How many columns a text takes: ideographs take two, accents none."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "") -> str:
    """Aligned columns under bold heads; `empty` when there is no row."""
    cells = [["" if value is None else safe(" ".join(str(value).split())) for value in row] for row in rows]
    if not cells:
        return empty
    widths = [max(columns(line[at]) for line in [list(heads), *cells]) for at in range(len(heads))]
    right = [all(_NUMBER.fullmatch(row[at]) for row in cells) for at in range(len(heads))]
    lines = [bold(_line(heads, widths, right=right))]
    lines += [_line(row, widths, right=right, painted=True) for row in cells]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int], *, right: Sequence[bool], painted: bool = False) -> str:
    padded = []
    for text, width, number in zip(cells, widths, right, strict=True):
        room = " " * (width - columns(text))
        shown = paint(text) if painted else text
        padded.append(room + shown if number else shown + room)
    return "  ".join(padded).rstrip()


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def age(seconds: float | None) -> str:
    """A duration for people: the two greatest units."""
    if seconds is None:
        return "never"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def safe(text: str) -> str:
    """A text of people or models without control characters, except tab and newline: it moves nobody's cursor."""
    return text.translate(_CONTROLS)
