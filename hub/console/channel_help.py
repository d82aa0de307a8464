"""Step-by-step help of a channel: numbered lines of a text file per language, or steps that its abilities imply.

The files are `hub/console/help/<language>/<channel>.md`, one `1. …` per step, with `code`, **bold**, <https://…> links
and {webhook}, which becomes the address with a button to copy it.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from channels_adapters.registry import AdapterType
from hub.console.drawing import copyable

FOLDER: Final = Path(__file__).parent / "help"
_STEP: Final = re.compile(r"^\d+\.\s+", re.MULTILINE)
_MARKS: Final = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<b>\1</b>"),
    (re.compile(r"&lt;(https://[^\s&]+)&gt;"), r'<a href="\1" target="_blank" rel="noopener noreferrer">\1</a>'),
)


def steps(kind: AdapterType, webhook: str) -> list[SafeString]:
    """What to do on the platform's side, in the reader's language; `webhook` is empty before there is one."""
    language = "zh" if (get_language() or "").startswith("zh") else "en"
    texts = _read(language, kind.slug)
    if texts:
        return [_drawn(text, webhook) for text in texts]
    return _implied(kind, webhook)


@lru_cache(maxsize=128)
def _read(language: str, slug: str) -> tuple[str, ...]:
    file = FOLDER / language / f"{slug}.md"
    if not file.is_file():
        return ()
    return tuple(part.strip() for part in _STEP.split(file.read_text(encoding="utf-8"))[1:])


def _drawn(text: str, webhook: str) -> SafeString:
    drawn = str(escape(text))
    for mark, html in _MARKS:
        drawn = mark.sub(html, drawn)
    address = (
        copyable(webhook) if webhook else format_html("<em>{}</em>", _("the address shown here once you have saved"))
    )
    return SafeString(drawn.replace("{webhook}", address))  # escaped above; the marks add tags of ours only


def _implied(kind: AdapterType, webhook: str) -> list[SafeString]:
    docs = format_html('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>', kind.docs_url)
    made = format_html(_("Make an app or bot on the platform; its own documentation: {}"), docs)
    filled = format_html("{}", _("Fill in what the form asks for and save."))
    if kind.capabilities.pull:
        return [filled]
    called = _drawn(_("Enter this address as the webhook (callback) address on the platform: {webhook}"), webhook)
    return [made, filled, called, format_html("{}", _("Press Test here, then write a message to your bot."))]
