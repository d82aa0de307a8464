"""How help stands on a terminal where characters may take two columns.

click measures and breaks by characters. Whatever holds a wide one is measured and broken here, by columns; the rest is
left to click.
"""

import re
from collections.abc import Iterable, Sequence

import click

from hub.cli.terminal import columns, pad
from hub.cli.words import _

_WIDE = "\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffe6"
_OPENING, _CLOSING = "（《「『【〔“‘", "，。；：、！？）》」』】〕”’…"
# What stays together: something in brackets; an ideograph or a word with the marks that stick to it. Not compiled here:
# most help holds nothing wide.
_PIECE = rf"\s+|\[[^\[\]]+\]|[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENING}{_CLOSING}]+)?[{_CLOSING}]*"


def wrap(text: str, width: int) -> list[str]:
    """A paragraph as lines of at most `width` columns; no line begins with a mark that ends something."""
    lines, line = list[str](), ""
    for piece in re.findall(_PIECE, re.sub(r"\s*\n\s*", " ", text.strip())):
        if line.strip() and columns(line) + columns(piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += piece if line else piece.lstrip()
    return [*lines, line.rstrip()] if line.strip() else lines


def _wide(*texts: str) -> bool:
    return any(columns(text) != len(text) for text in texts)


class Formatter(click.HelpFormatter):
    """click's, by columns."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """As click's; arguments that need more lines stand under each other."""
        usage = _("Usage:")
        before = f"{prefix or usage}{'' if _wide(usage) else ' '}{prog} "
        if not _wide(before, args):
            super().write_usage(prog, args, prefix)
            return
        first, *more = wrap(args, max(20, self.width - columns(before))) or [""]
        self.write(f"{before}{first}".rstrip() + "\n")
        self.write("".join(f"{'':{columns(before)}}{line}\n" for line in more))

    def write_heading(self, heading: str) -> None:
        """As click's."""
        self.write(self.indented([_("{heading}:", heading=heading)]))

    def write_text(self, text: str) -> None:
        """As click's; paragraphs are parted by empty lines."""
        if not _wide(text):
            super().write_text(text)
            return
        room = self.width - self.current_indent
        paragraphs = (wrap(paragraph, room) for paragraph in re.split(r"\n\s*\n", text.strip()))
        self.write("\n".join(self.indented(lines) for lines in paragraphs))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """As click's: terms, and beside each what it means."""
        found: Sequence[tuple[str, str]] = list(rows)
        if not _wide(*(text for row in found for text in row)):
            super().write_dl(found, col_max, col_spacing)
            return
        beside = min(max(columns(term) for term, meaning in found), col_max) + col_spacing
        for term, meaning in found:
            lines = wrap(meaning, max(10, self.width - self.current_indent - beside))
            alone = columns(term) > beside - col_spacing or not lines
            first = term if alone else f"{pad(term, beside)}{lines.pop(0)}"
            self.write(self.indented([first, *(f"{'':{beside}}{line}" for line in lines)]))

    def indented(self, lines: Iterable[str]) -> str:
        """Lines as they stand at the present depth."""
        return "".join(f"{'':{self.current_indent}}{line}\n" for line in lines)
