"""How the console names and draws things."""

from datetime import datetime, timedelta
from typing import Any, Final

from django import template
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timesince import timesince
from django.utils.translation import gettext

from hub.console.crumbs import Crumbs
from hub.console.crumbs import crumbs as crumbs_of
from hub.console.drawing import badge, copyable
from hub.console.formats import compact, duration
from hub.console.happened import event_data
from hub.console.happened import reason as reason_of
from hub.console.words import CONNECTION_STATUS, EVENT_NAMES, REFUSALS

register = template.Library()
JUST_NOW: Final = timedelta(minutes=1)


@register.simple_tag(takes_context=True)
def crumbs(context: template.Context) -> Crumbs:
    """The page's heading and the way to it."""
    return crumbs_of(context.flatten())


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
def reason(detail: str) -> str:
    """Why a delivery ended as it did, in words."""
    return reason_of(detail or "")


@register.filter
def refusal(kind: str) -> str:
    """Why a message was not given to the agent."""
    return str(REFUSALS.get(kind, kind))


@register.filter
def happened(row: Any) -> str:
    """An event's data in words."""
    return event_data(row.type, row.data or {})


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
def ago(moment: datetime) -> str:
    """How long it is since then."""
    if timezone.now() - moment < JUST_NOW:
        return gettext("just now")
    return gettext("%(ago)s ago") % {"ago": timesince(moment, depth=1)}


@register.filter
def percentage(share: float) -> str:
    """A share between 0 and 1 as a CSS number."""
    return f"{max(0.0, min(1.0, share)) * 100:.1f}"


@register.filter
def unlocalized(value: Any) -> str:
    """A number as SVG wants it, whatever the reader's language."""
    return f"{value:g}"
