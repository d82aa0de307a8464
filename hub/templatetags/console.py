"""How the console names and writes things."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext

from hub.console.drawing import badge
from hub.console.turn_words import RECEIPTS

register = template.Library()


@register.filter
def named(title: object) -> str:
    """A model's or application's name in the reader's language, also where its package is not translated."""
    text = str(title)
    lower = text[:1].lower() + text[1:]
    translated = gettext(lower) if lower else ""
    return capfirst(text if translated == lower else translated)


@register.filter
def duration(ms: object) -> str:
    """Milliseconds as people read them: 0.8 ms, 312 ms, 4.21 s, 3 min 5 s, 2 h 4 min; a dash for nothing."""
    if not isinstance(ms, int | float):
        return "–"
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.2f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@register.filter
def figure(number: object) -> str:
    """A whole number in the reader's grouping."""
    return number_format(number, decimal_pos=0, force_grouping=True) if isinstance(number, int | float) else "–"


@register.filter
def money(cost: float) -> str:
    """A cost with as many places as it needs."""
    return f"{cost:.2f}" if cost >= 1 else f"{cost:.6f}".rstrip("0")


@register.filter
def css(number: float) -> str:
    """A number as style sheets write it, whatever the language."""
    return f"{number:g}"


@register.filter
def at(found: Mapping[Any, Any], key: object) -> Any:
    """The value of a key, None without it."""
    return found.get(key) if found else None


@register.filter
def receipt(kind: str) -> Any:
    """A receipt in words."""
    return RECEIPTS.get(kind, kind)


@register.filter
def delivery_badge(row: Any) -> SafeString:
    """A delivery's status, coloured."""
    from hub.console.transcript import TONES  # models: not while templates are being found

    return badge(TONES.get(row.status, "info"), row.get_status_display())
