"""How the pages of turns, conversations and dead letters write things."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from hub.console.drawing import badge
from hub.console.turn_words import RECEIPTS

register = template.Library()


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


def moment(value: datetime | None) -> SafeString | str:
    """A time in a list: short, on one line, whole when pointed at."""
    if value is None:
        return "–"
    local = localtime(value)
    return format_html(
        '<time class="when" datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        local.strftime("%Y-%m-%d %H:%M:%S"),
        local.strftime("%m-%d %H:%M:%S") if local.year == localtime().year else local.strftime("%Y-%m-%d %H:%M"),
    )
