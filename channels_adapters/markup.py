"""Turns CommonMark (with tables and strike-through) into the dialects that platforms read."""

import html
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from channels_adapters.text import clean, length, split
from channels_adapters.types import LengthUnit

RULE = "———"
BULLET = "•"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a platform writes what CommonMark means. Every function gets text that is already in the dialect."""

    escape: Callable[[str], str]
    bold: Callable[[str], str]
    italic: Callable[[str], str]
    strike: Callable[[str], str]
    code: Callable[[str], str]
    """Gets raw text, as do `pre` and the address of `link`."""
    pre: Callable[[str, str], str]
    link: Callable[[str, str], str]
    quote: Callable[[str], str]


def _same(text: str) -> str:
    return text


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _web_address(url: str) -> bool:
    return url.startswith(("http://", "https://", "mailto:", "tel:", "tg://"))


def _html_pre(text: str, info: str) -> str:
    language = info.split()[0] if info.split() else ""
    inner = _escape(text)
    if not language:
        return f"<pre>{inner}</pre>"
    return f'<pre><code class="language-{html.escape(language)}">{inner}</code></pre>'


def _html_link(label: str, url: str) -> str:
    return f'<a href="{html.escape(url)}">{label}</a>' if _web_address(url) else label


def _slack_link(label: str, url: str) -> str:
    if not _web_address(url):
        return label
    target = _escape(url).replace("|", "%7C").replace(" ", "%20")
    name = label.replace("|", "¦").replace("\n", " ")
    return f"<{target}|{name}>" if name and name != target else f"<{target}>"


def _plain_link(label: str, url: str) -> str:
    if not _web_address(url) or label in (url, url.removeprefix("mailto:")):
        return label
    return f"{label} ({url})" if label else url


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


TELEGRAM = Dialect(
    escape=_escape,
    bold=lambda text: f"<b>{text}</b>",
    italic=lambda text: f"<i>{text}</i>",
    strike=lambda text: f"<s>{text}</s>",
    code=lambda text: f"<code>{_escape(text)}</code>",
    pre=_html_pre,
    link=_html_link,
    quote=lambda text: f"<blockquote>{text}</blockquote>",
)
"""Telegram's HTML: https://core.telegram.org/bots/api#html-style"""

SLACK = Dialect(
    escape=_escape,
    bold=lambda text: f"*{text}*",
    italic=lambda text: f"_{text}_",
    strike=lambda text: f"~{text}~",
    code=lambda text: f"`{_escape(text)}`",
    pre=lambda text, info: f"```\n{_escape(text)}\n```",  # noqa: ARG005 (mrkdwn has no info strings)
    link=_slack_link,
    quote=_quoted,
)
"""Slack's mrkdwn: https://docs.slack.dev/messaging/formatting-message-text"""

PLAIN = Dialect(
    escape=_same,
    bold=_same,
    italic=_same,
    strike=_same,
    code=_same,
    pre=lambda text, info: text,  # noqa: ARG005 (plain text has no info strings)
    link=_plain_link,
    quote=_quoted,
)

_MARKUP = frozenset("*_~`[]<>&#\\|!-+=>\n0123456789")


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("html_block")


def render(text: str, dialect: Dialect) -> str:
    """The text in the dialect."""
    return _write(_read(text), dialect)


def _read(text: str) -> SyntaxTreeNode | str:
    """What the text means; a text without any markup means itself, and need not be parsed."""
    text = clean(text)
    return text.strip() if _MARKUP.isdisjoint(text) else SyntaxTreeNode(_parser().parse(text))


def _write(meaning: SyntaxTreeNode | str, dialect: Dialect) -> str:
    if isinstance(meaning, str):
        return dialect.escape(meaning)
    return _blocks(meaning.children, dialect).strip("\n")


def to_plain(text: str) -> str:
    """What a person reads of a CommonMark text."""
    return render(text, PLAIN)


@dataclass(frozen=True, slots=True)
class Piece:
    """One message's worth of a text: its source, its dialect form, and what a person reads."""

    source: str
    markup: str
    plain: str


def pieces(text: str, dialect: Dialect, *, limit: int, unit: LengthUnit = "chars") -> list[Piece]:
    """The text cut so that both the source and what a person reads stay within `limit` units.

    Rendering can make a text longer (a table is padded), so a piece that grew is cut again, smaller.
    """
    made: list[Piece] = []
    for source in split(text, limit=limit, unit=unit):
        made.extend(_fitting(source, dialect, limit=limit, unit=unit))
    return made


def _fitting(source: str, dialect: Dialect, *, limit: int, unit: LengthUnit) -> list[Piece]:
    meaning = _read(source)
    plain = _write(meaning, PLAIN)
    if length(plain, unit) <= limit:
        return [Piece(source=source, markup=_write(meaning, dialect), plain=plain)] if plain.strip() else []
    smaller = max(length(source, unit) // 2, 16)
    parts = split(source, limit=smaller, unit=unit)
    if len(parts) == 1:  # nothing left to cut: the rendered text itself is cut, as plain text
        return [Piece(part, dialect.escape(part), part) for part in split(plain, limit=limit, unit=unit)]
    return [piece for part in parts for piece in _fitting(part, dialect, limit=limit, unit=unit)]


# ---- blocks --------------------------------------------------------------------------------------------------------


def _blocks(nodes: Sequence[SyntaxTreeNode], dialect: Dialect, *, tight: bool = False) -> str:
    rendered = [_block(node, dialect) for node in nodes]
    return ("\n" if tight else "\n\n").join(part for part in rendered if part)


def _block(node: SyntaxTreeNode, dialect: Dialect) -> str:
    make = _BLOCKS.get(node.type)
    return make(node, dialect) if make else _blocks(node.children, dialect)


def _paragraph(node: SyntaxTreeNode, dialect: Dialect) -> str:
    return "".join(_inline(child, dialect) for child in node.children)


def _heading(node: SyntaxTreeNode, dialect: Dialect) -> str:
    plain = "".join(_inline(child, PLAIN) for child in node.children)
    return dialect.bold(dialect.escape(plain)) if plain else ""


def _code_block(node: SyntaxTreeNode, dialect: Dialect) -> str:
    info = node.info if node.type == "fence" else ""
    return dialect.pre(node.content.rstrip("\n"), info)


def _quote(node: SyntaxTreeNode, dialect: Dialect) -> str:
    """Quotes inside quotes are flattened: neither Telegram nor Slack nests them."""
    return dialect.quote(_blocks(node.children, replace(dialect, quote=_same)))


def _list(node: SyntaxTreeNode, dialect: Dialect) -> str:
    start = node.attrs.get("start", 1)
    first = int(start) if isinstance(start, int | str) else 1
    lines = []
    for offset, item in enumerate(node.children):
        mark = f"{first + offset}." if node.type == "ordered_list" else BULLET
        body = _blocks(item.children, dialect, tight=True)
        lines.append(f"{mark} " + body.replace("\n", "\n  "))
    return "\n".join(lines)


def _table(node: SyntaxTreeNode, dialect: Dialect) -> str:
    rows = [
        ["".join(_inline(part, PLAIN) for part in cell.children).replace("\n", " ") for cell in row.children]
        for section in node.children
        for row in section.children
    ]
    widths = [max(_columns(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        " | ".join(cell + " " * (width - _columns(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return dialect.pre("\n".join(lines), "")


def _columns(text: str) -> int:
    """How many columns of a monospaced font a text takes: wide (East Asian) signs take two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _rule(node: SyntaxTreeNode, dialect: Dialect) -> str:  # noqa: ARG001 (one signature for every block)
    return RULE


_BLOCKS: Mapping[str, Callable[[SyntaxTreeNode, Dialect], str]] = {
    "paragraph": _paragraph,
    "inline": _paragraph,
    "heading": _heading,
    "fence": _code_block,
    "code_block": _code_block,
    "blockquote": _quote,
    "bullet_list": _list,
    "ordered_list": _list,
    "table": _table,
    "hr": _rule,
}


# ---- inline --------------------------------------------------------------------------------------------------------


def _inline(node: SyntaxTreeNode, dialect: Dialect) -> str:
    if node.type in ("softbreak", "hardbreak"):
        return "\n"
    if node.type == "code_inline":
        return dialect.code(node.content)
    if node.type == "image":
        return dialect.link(dialect.escape(node.content or "image"), str(node.attrs.get("src", "")))
    if not node.children:
        return dialect.escape(node.content)
    inner = "".join(_inline(child, dialect) for child in node.children)
    if node.type == "link":
        return dialect.link(inner, str(node.attrs.get("href", "")))
    wrap = _WRAPS.get(node.type)
    return wrap(dialect)(inner) if wrap and inner.strip() else inner


_WRAPS: Mapping[str, Callable[[Dialect], Callable[[str], str]]] = {
    "strong": lambda dialect: dialect.bold,
    "em": lambda dialect: dialect.italic,
    "s": lambda dialect: dialect.strike,
}
