"""Where a page stands: the group of the menu, the list, and what the page is about by the name that people know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import NoReverseMatch, reverse


@dataclass(frozen=True, slots=True)
class Crumbs:
    """The heading of a page and the way to it; `rows_url` is also where its arrow leads back to."""

    title: str
    group: str = ""
    rows: str = ""
    rows_url: str = ""


def crumbs(context: Mapping[Any, Any]) -> Crumbs:
    """Of a page of the admin, by what its template is given."""
    from hub.console.site import GROUPS  # the site draws its menu with the words of `hub.templatetags`
    from hub.templatetags.console import named

    opts, title = context.get("opts"), str(context.get("title") or "")
    if opts is None:
        return Crumbs(str(context.get("content_title") or title))
    entry = opts.label_lower
    group = next((str(name) for name, entries in GROUPS if entry in dict(entries)), "")
    rows = named(opts.verbose_name_plural)
    if context.get("cl") is not None:
        return Crumbs(rows, group=group)
    row = context.get("original") or context.get("object")
    found = title if row is None or isinstance(row, str) else page_title(row)
    return Crumbs(found, group, rows, _list_of(opts))


def page_title(row: Any) -> str:
    """What the page of a row is called."""
    from hub.console.site import site

    admin = site._registry.get(type(row))
    return str(admin.page_title(row)) if admin is not None and hasattr(admin, "page_title") else str(row)


def _list_of(opts: Any) -> str:
    try:
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    except NoReverseMatch:
        return ""
