"""An agent's Markdown as HTML for operators: tags of our own only, nothing is loaded, raw HTML is shown as text."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

MOST: Final = 60_000
"""Longer texts are shown as they are: nobody reads them, and their grammar would cost time."""
_ADDRESSES: Final = ("https://", "http://", "mailto:", "tel:")


class _Renderer(RendererHTML):
    """Links open elsewhere and tell nothing of this page; pictures are links, or their servers would see who reads."""

    def link_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """As markdown-it calls it."""
        tokens[idx].attrSet("rel", "noopener noreferrer nofollow")
        tokens[idx].attrSet("target", "_blank")
        return self.renderToken(tokens, idx, options, env)

    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """As markdown-it calls it."""
        address = str(tokens[idx].attrs.get("src", ""))
        link = '<a href="{}" rel="noopener noreferrer nofollow" target="_blank">{}</a>'
        return format_html(link, address, tokens[idx].content or address)


@cache
def _parser() -> MarkdownIt:
    found = MarkdownIt("commonmark", {"html": False, "breaks": True}, renderer_cls=_Renderer)
    found.enable(["table", "strikethrough"])
    found.validateLink = lambda url: url.lower().startswith(_ADDRESSES)  # type: ignore[method-assign]
    return found


def rendered(text: str) -> SafeString:
    """The text's Markdown as HTML that is safe to show."""
    if len(text) > MOST:
        return SafeString(f"<pre>{escape(text)}</pre>")
    return SafeString(_parser().render(text))  # html=False: what looks like a tag was escaped
