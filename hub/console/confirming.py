"""Ask before something is done that cannot be undone or that people notice."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: a title, what will happen, to what, and the two buttons. `harms` makes the button red."""

    title: Any
    words: Any
    go: Any
    back: str
    harms: bool = False
    warning: Any = ""
    number: Any = None
    items: Iterable[Any] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Hidden fields that the answer carries; lists become several."""
    nothing: bool = False
    """There is nothing to do it to, so there is no button."""


CONFIRMED = "confirmed"


def confirmed(request: HttpRequest) -> bool:
    """Whether this request is the answer to a question: a POST with the button's field."""
    return request.method == "POST" and request.POST.get(CONFIRMED) == "yes"


def ask(request: HttpRequest, admin: Any, question: Question) -> TemplateResponse:
    """The page with the question; its form posts to the same address."""
    pairs = [
        (name, one)
        for name, value in question.fields.items()
        for one in (value if isinstance(value, list | tuple) else [value])
        if one not in (None, "")
    ]
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": question.title,
        "question": question,
        "fields": [*pairs, (CONFIRMED, "yes")],
        "items": list(question.items)[:50],
    }
    return TemplateResponse(request, "console/ask.html", context)
