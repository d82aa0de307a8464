"""How the console names and draws things."""

from typing import Any

from django import template
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext

from hub.console.drawing import badge, copyable
from hub.console.formats import compact, duration
from hub.console.words import CONNECTION_STATUS, EVENT_NAMES

register = template.Library()


@register.filter
def named(title: object) -> str:
    """A model's or application's name in the reader's language, also where its package is not translated."""
    text = str(title)
    lower = text[:1].lower() + text[1:]
    translated = gettext(lower) if lower else ""
    return capfirst(text if translated == lower else translated)


@register.filter
def event_name(kind: str) -> str:
    """An event's type in words; itself where there are none."""
    return str(EVENT_NAMES.get(kind, kind))


@register.filter
def connection_badge(status: str) -> SafeString:
    """A connection's status, coloured."""
    tone, word = CONNECTION_STATUS.get(status, ("info", status))
    return badge(tone, word)


@register.filter
def copying(text: str) -> SafeString:
    """A value with a button that copies it."""
    return copyable(text)


@register.filter
def compacted(value: float) -> str:
    """A large number, short."""
    return compact(value)


@register.filter
def lasting(seconds: float | None) -> str:
    """A time span."""
    return duration(seconds)


@register.filter
def percentage(share: float) -> str:
    """A share between 0 and 1 as a CSS number."""
    return f"{max(0.0, min(1.0, share)) * 100:.1f}"


@register.filter
def unlocalized(value: Any) -> str:
    """A number as SVG wants it, whatever the reader's language."""
    return f"{value:g}"
