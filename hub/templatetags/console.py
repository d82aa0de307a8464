"""How the console names things."""

from django import template
from django.utils.text import capfirst
from django.utils.translation import gettext

register = template.Library()


@register.filter
def named(title: object) -> str:
    """A model's or application's name in the reader's language, also where its package is not translated."""
    text = str(title)
    lower = text[:1].lower() + text[1:]
    translated = gettext(lower) if lower else ""
    return capfirst(text if translated == lower else translated)
