"""How things look on a terminal: aligned tables, words coloured by what they mean, sizes and ages for people."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import click

from hub.cli.words import Phrase, told

_COLOURS = {
    "green": ("ok", "active", "valid", "sent", "alive", "running"),
    "yellow": ("note", "paused", "suspended", "unknown", "retry", "pending", "expired", "skipped", "due"),
    "red": ("BAD", "dead", "failed", "revoked", "disabled", "gone", "refused"),
}
_NUMBER = re.compile(r"[\d,]+|\d+ %|-")
"""What stands at the right of its column."""
_MEANING = {word: colour for colour, words in _COLOURS.items() for word in words}
SPEAKERS = {"user": Phrase("user"), "assistant": Phrase("assistant")}
"""Who spoke, by the role of a message, where no name is known."""
STATES = frozenset({*_MEANING, "sending", "live", "agent", "human"})
"""All that a status can be."""
NO_LIMIT = Phrase("no limit")


class State(Phrase):
    """A status by its code, which is also its English word."""


def paint(state: State, *, width: int = 0) -> str:
    """A status in the colour of its meaning; click takes colours away where nobody sees them."""
    shown, colour = pad(told(state), width), _MEANING.get(state.text)
    return click.style(shown, fg=colour) if colour else shown


def bold(text: str) -> str:
    """A heading."""
    return click.style(text, bold=True)


def dim(text: str) -> str:
    """Something said aside."""
    return click.style(text, dim=True)


def columns(text: str) -> int:
    """How many columns a text takes: ideographs take two, accents and joiners none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, width: int) -> str:
    """The text with blanks behind it up to this many columns."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int) -> str:
    """The beginning of the text, at most this many columns."""
    while columns(text) > width:
        text = text[:-1]
    return text


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "") -> str:
    """Aligned columns under bold heads; `empty` when there is no row. A `State` is coloured."""
    held = list(rows)
    if not held:
        return empty
    cells = [[_cell(value) for value in row] for row in held]
    widths = [max(columns(line[at]) for line in [list(heads), *cells]) for at in range(len(heads))]
    right = [all(_NUMBER.fullmatch(row[at]) or row[at] == told(NO_LIMIT) for row in cells) for at in range(len(heads))]
    lines = [bold(_line(heads, heads, widths, right=right))]
    lines += [_line(row, values, widths, right=right) for row, values in zip(cells, held, strict=True)]
    return "\n".join(lines)


def _cell(value: object) -> str:
    shown = told(value) if isinstance(value, Phrase) else "" if value is None else str(value)
    return safe(" ".join(shown.split()))


def _line(cells: Sequence[str], values: Sequence[object], widths: Sequence[int], *, right: Sequence[bool]) -> str:
    padded = []
    for text, value, width, number in zip(cells, values, widths, right, strict=True):
        room = " " * (width - columns(text))
        shown = paint(value) if isinstance(value, State) else text
        padded.append(room + shown if number else shown + room)
    return "  ".join(padded).rstrip()


FIELDS = (
    "id", "name", "status", "channel", "connection_id", "session_id", "turn_id", "agent_id", "public_id", "webhook",
    "webhook_path", "status_detail", "last_event_at", "created", "sent_at", "attempts", "receipt", "platform_id",
    "detail", "part", "model", "model_url", "tools", "memory", "language", "routes", "tenant", "agent", "web", "api",
    "user", "password",
)  # fmt: skip
"""What `fields` names; whatever else it shows is spelled as commands take it."""


def fields(values: Mapping[str, object]) -> list[str]:
    """Lines of names and values, those without a value left out."""
    held = {told(Phrase(name)): _cell(_flat(value)) for name, value in values.items()}
    width = max((columns(name) for name, value in held.items() if value), default=0) + 2
    return [f"  {pad(name, width)}{value}" for name, value in held.items() if value]


def _flat(value: object) -> object:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={inner}" for name, inner in value.items())
    if isinstance(value, list):
        return "; ".join(str(_flat(one)) for one in value)
    return value


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def age(seconds: float | None) -> Phrase:
    """A duration for people: the two greatest units."""
    if seconds is None:
        return Phrase("never")
    whole = max(0, int(seconds))
    if whole < 60:
        return Phrase("{seconds} s", seconds=f"{seconds:.1f}" if seconds < 10 else whole)
    if whole < 3600:
        return Phrase("{minutes} min {seconds} s", minutes=whole // 60, seconds=whole % 60)
    if whole < 86_400:
        return Phrase("{hours} h {minutes} min", hours=whole // 3600, minutes=whole % 3600 // 60)
    return Phrase("{days} d {hours} h", days=whole // 86_400, hours=whole % 86_400 // 3600)


_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def safe(text: str) -> str:
    """A text of people or models without control characters, except tab and newline: it moves nobody's cursor."""
    return text.translate(_CONTROLS)
