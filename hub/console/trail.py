"""The audit trail as people read it: who, when, what, from what to what, and why."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from hub.console.drawing import DASH
from hub.console.words import ACTIONS, FIELDS, STATES


def action_name(action: str) -> str:
    """What was done, in words; itself where there are none."""
    return str(ACTIONS.get(action, action))


def change_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> SafeString | str:
    """The changed fields, each with what it was and what it is."""
    names = list(dict.fromkeys([*before, *after]))
    if not names:
        return DASH
    parts = ((_field(name), _value(before.get(name)), _value(after.get(name))) for name in names)
    return format_html_join("", '<span class="changed">{}: <s>{}</s> → <b>{}</b></span>', parts)


def trail(entries: Iterable[Any]) -> SafeString | str:
    """Entries as a list, the newest first."""
    rows = [
        (
            entry.created.isoformat(),
            date_format(entry.created, "Y-m-d H:i"),
            entry.actor,
            action_name(entry.action),
            change_of(entry.before, entry.after) if entry.before or entry.after else "",
            format_html("“{}”", entry.reason) if entry.reason else "",
        )
        for entry in entries
    ]
    if not rows:
        return _("Nothing was changed yet.")
    line = '<li><time datetime="{}">{}</time><b>{}</b><span>{}</span><span>{}</span><span class="muted">{}</span></li>'
    return format_html('<ul class="trail">{}</ul>', format_html_join("", line, rows))


def _field(name: str) -> str:
    """A field's name in words: ours, or the channel's."""
    return str(FIELDS[name]) if name in FIELDS else _(name.replace("_", " "))


def _value(value: Any) -> str:
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return ", ".join(str(FIELDS.get(one, one)) for one in value)
    return f"{value:,}" if isinstance(value, int) else str(STATES.get(value, value))[:120]
