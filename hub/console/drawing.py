"""Small pieces of HTML for lists and forms; every value is escaped by `format_html`."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

UNLIMITED: Final = -1
DASH: Final = "–"


def share_of(used: int, limit: int) -> float:
    """How much of a limit is used; 0 without one, and a limit of nothing is full."""
    if limit == UNLIMITED:
        return 0.0
    return used / limit if limit else 1.0


def whole(value: int) -> str:
    """A count with its thousands."""
    return f"{value:,}"


def size(value: int) -> str:
    """Bytes as people read them."""
    for power, unit in ((30, "GB"), (20, "MB"), (10, "kB")):
        if value >= 1 << power:
            return f"{value / (1 << power):.1f} {unit}"
    return f"{value} B" if value else "0"


def usage_bar(
    used: int, limit: int, *, alert_at: float, reserved: int = 0, show: Callable[[int], str] = whole
) -> SafeString:
    """used / limit as a bar: green, amber from the alert share on, red when nothing is left."""
    if limit == UNLIMITED:
        return format_html('<span class="bar-text">{} / ∞</span>', show(used))
    share = min(1.0, share_of(used + reserved, limit))
    tone = "bad" if share >= 1 else "warn" if share >= alert_at else "good"
    return format_html(
        '<span class="bar" role="img" aria-label="{}%"><span class="bar-fill bar-{}" style="width:{}%"></span></span>'
        '<span class="bar-text">{} / {}</span>',
        round(share * 100),
        tone,
        round(share * 100, 1),
        show(used),
        show(limit),
    )


def small_bar(name: object, used: int, limit: int, *, alert_at: float) -> SafeString:
    """A bar without figures, which its hint has."""
    share = min(1.0, share_of(used, limit))
    tone = "bad" if share >= 1 else "warn" if share >= alert_at else "good"
    hint = f"{name}: {used:,} / {limit_text(limit)}"
    return format_html(
        '<span class="bar bar-small" role="img" aria-label="{}" title="{}">'
        '<span class="bar-fill bar-{}" style="width:{}%"></span></span>',
        hint,
        hint,
        tone,
        round(share * 100, 1),
    )


def limit_text(value: int, show: Callable[[int], str] = whole) -> str:
    """A limit as people read it."""
    return "∞" if value == UNLIMITED else show(value)


def badge(tone: str, text: object) -> SafeString:
    """A coloured word; tones are good, info, warn and bad."""
    return format_html('<span class="badge badge-{}">{}</span>', tone, text)


def copyable(text: str) -> SafeString:
    """A value with a button that copies it."""
    return format_html(
        '<span class="copy"><code>{}</code><button type="button" class="copy-button" data-copy="{}">{}</button></span>',
        text,
        text,
        _("Copy"),
    )


def link(model: str, ident: UUID | None, text: str = "") -> SafeString | str:
    """A link to a row's page; a dash without one."""
    if ident is None:
        return DASH
    return format_html(
        '<a class="row-link" href="{}" title="{}">{}</a>',
        reverse(f"admin:{model}_change", args=[ident]),
        text or ident,
        text or short(ident),
    )


def short(ident: UUID) -> str:
    """The random end of an id: enough to tell rows apart."""
    return f"…{str(ident)[-8:]}"
