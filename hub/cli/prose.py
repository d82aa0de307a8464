"""An answer on a terminal while it is being written: raw as it comes, each line dressed once it is whole.

Only what is sure of a single line is dressed (headings, lists, quotes, emphasis, code), so nothing shown jumps.
Control characters are left out: what people and models write must not move somebody's cursor.
"""

import re
import shutil

import click

from hub.cli.terminal import columns, dim, safe

_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*$")
_BULLET = re.compile(r"^(\s*)[-*+]\s+(.*)$")
_QUOTE = re.compile(r"^\s{0,3}>\s?(.*)$")
_FENCE = re.compile(r"^\s{0,3}(```+|~~~+)\s*(\S*)")
_RULE = re.compile(r"^\s{0,3}([-*_])(\s*\1){2,}\s*$")
_INLINE = re.compile(
    r"`([^`]+)`|\*\*([^*]+)\*\*|(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])|\[([^\]]+)\]\((https?://[^\s)]+)\)"
)


class Prose:
    """Turns pieces of Markdown into what a terminal shall write. Without `styled` everything passes as it is."""

    def __init__(self, *, styled: bool, indent: int = 0) -> None:
        self._styled = styled
        self._indent = indent  # columns that the first line has lost to the speaker's name
        self._line = ""
        self._fence = ""
        self._first = True

    def feed(self, text: str) -> str:
        """What to write for the next piece."""
        if not self._styled:
            return safe(text)
        *whole, rest = safe(text).replace("\t", "    ").split("\n")
        out = "".join(self._end_line(piece) for piece in whole)
        self._line += rest
        return out + rest

    def end(self) -> str:
        """What to write for the end of the answer, without a last newline."""
        if not self._styled:
            return ""
        return self._end_line("").removesuffix("\n")

    def _end_line(self, piece: str) -> str:
        raw, self._line = self._line + piece, ""
        lost = self._indent if self._first else 0
        self._first = False
        dressed = self._dress(raw)
        if dressed == raw:
            return f"{piece}\n"
        size = shutil.get_terminal_size()
        wraps = max(0, columns(raw) + lost - 1) // max(1, size.columns)
        if wraps >= size.lines - 1:  # its beginning has left the screen
            return f"{piece}\n"
        up = f"\x1b[{wraps}A" if wraps else ""
        right = f"\x1b[{lost}C" if lost else ""
        return f"{piece}{up}\r{right}\x1b[J{dressed}\n"

    def _dress(self, line: str) -> str:
        fence = _FENCE.match(line)
        if self._fence:
            if fence and fence[1].startswith(self._fence):
                self._fence = ""
                return dim("└─")
            return f"{dim('│')} {click.style(line, fg='yellow')}"
        if fence:
            self._fence = fence[1]
            return dim(f"┌─ {fence[2]}".rstrip())
        return _plain_line(line)


def _plain_line(line: str) -> str:
    if heading := _HEADING.match(line):
        return click.style(_inline(heading[1]), bold=True, underline=True)
    if _RULE.match(line):
        return dim("─" * 24)
    if quote := _QUOTE.match(line):
        return f"{dim('▌')} {click.style(quote[1], italic=True)}"
    if bullet := _BULLET.match(line):
        return f"{bullet[1]}• {_inline(bullet[2])}"
    return _inline(line)


def _inline(text: str) -> str:
    return _INLINE.sub(_mark, text)


def _mark(found: re.Match[str]) -> str:
    code, strong, emphasis, label, address = found.groups()
    if code is not None:
        return click.style(code, fg="yellow")
    if strong is not None:
        return click.style(strong, bold=True)
    if emphasis is not None:
        return click.style(emphasis, italic=True)
    return f"{click.style(label, underline=True)} {dim(f'({address})')}"
