"""Dead letters of the list's filters, sent again or purged: asked first, then done behind the page, which watches."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from hub.bulk import PURGE, REPLAY, NotSent, Order, Progress, begin, progress, step
from hub.console.confirming import Question, ask, confirmed
from hub.models import Connection, DeliveryStatus
from hub.replay import LETTERS, MOST_COUNTED, REPLAYABLE, Letters
from tenants.audit import Actor
from tenants.context import current_tenant

NAMES: Final = ("status", "connection", "reason", "age")
AGES: Final = {
    "hour": (_("the last hour"), timedelta(hours=1), None),
    "day": (_("the last day"), timedelta(days=1), None),
    "week": (_("the last week"), timedelta(days=7), None),
    "older": (_("older than a week"), None, timedelta(days=7)),
    "oldest": (_("older than a month"), None, timedelta(days=30)),
}
_KEPT: Final = (*NAMES, "do", "until", "total")


def letters_of(values: Any, *, doing: str) -> Letters:
    """The dead letters that a list's filters, or an answer's hidden fields, describe."""
    able = REPLAYABLE if doing == REPLAY else LETTERS
    status = values.get("status", "")
    until = parse_datetime(values.get("until", "")) or timezone.now()
    since, before = window(values.get("age", ""))
    return Letters(
        statuses=[status] if status in [str(one) for one in able] else [str(one) for one in able],
        connection_id=_uuid(values.get("connection", "")),
        reason=values.get("reason", "")[:300],
        since=since,
        until=min(until, before) if before else until,
    )


def window(age: str) -> tuple[datetime | None, datetime | None]:
    """The first and the last moment of an age filter."""
    found = AGES.get(age)
    if found is None:
        return None, None
    _words, young, old = found
    return (timezone.now() - young if young else None), (timezone.now() - old if old else None)


class LettersView:
    """The question, what follows its answer, and the page that watches. Made per request."""

    def __init__(self, admin: Any, request: HttpRequest) -> None:
        self._admin, self._request = admin, request
        values = request.POST if request.method == "POST" else request.GET
        self._values = {name: values.get(name, "") for name in (*_KEPT, "work")}
        self._doing = self._values["do"]
        self._back = reverse("admin:hub_delivery_changelist") + "?" + urlencode(self._filters())

    def respond(self) -> HttpResponse:
        """Ask, begin, or say how far it has come."""
        if not self._admin.has_operate_permission(self._request):
            raise PermissionDenied
        if self._doing not in (REPLAY, PURGE):
            return redirect(self._back)
        if confirmed(self._request):
            return self._start()
        return self._watch() if self._values["work"] else self._question()

    def _filters(self) -> dict[str, str]:
        return {name: self._values[name] for name in NAMES if self._values[name]}

    def _question(self) -> HttpResponse:
        now = timezone.now()
        count = letters_of({**self._values, "until": now.isoformat()}, doing=self._doing).count()
        shown = f"{MOST_COUNTED:,}+" if count >= MOST_COUNTED else f"{count:,}"
        replaying = self._doing == REPLAY
        unknown = replaying and self._values["status"] in ("", str(DeliveryStatus.UNKNOWN))
        question = Question(
            title=_("Send dead letters again") if replaying else _("Purge dead letters"),
            number=shown,
            words=_("These deliveries become due at once, in their order, with the parts that were skipped after them.")
            if replaying
            else _("These deliveries are deleted with their text and their story. What was said stays in the session."),
            warning=_("Some may have arrived already, because nobody knows their outcome: people may read them twice.")
            if unknown
            else "",
            go=_("Send again") if replaying else _("Delete for good"),
            harms=not replaying,
            items=self._described(),
            back=self._back,
            fields={**self._filters(), "do": self._doing, "until": now.isoformat(), "total": count},
            nothing=not count,
        )
        return ask(self._request, self._admin, question)

    def _described(self) -> Iterator[str]:
        values = self._values
        if values["status"]:
            yield f"{_('status')}: {dict(DeliveryStatus.choices).get(values['status'], values['status'])}"
        if (connection := _uuid(values["connection"])) is not None:
            row = Connection.objects.filter(id=connection).only("id", "tenant_id", "name", "channel").first()
            yield f"{_('connection')}: {row or '?'}"
        if values["reason"]:
            yield f"{_('reason')}: {values['reason']}"
        if values["age"] in AGES:
            yield f"{_('age')}: {AGES[values['age']][0]}"

    def _start(self) -> HttpResponse:
        """The first batch at once, which mostly is all; the rest is a task, and this page may be closed."""
        tenant_id, values = current_tenant(), self._values
        total = int(values["total"]) if values["total"].isdecimal() else 0
        order = Order(
            doing=self._doing,
            letters=letters_of(values, doing=self._doing),
            actor=Actor.of(self._request.user),
            filters=self._filters(),
        )
        now = step(tenant_id, order, Progress(total, 0, 0, done=False, told_at=time.time()))
        if now.done:
            messages.success(self._request, self._done_words(now.changed))
            return redirect(self._back)
        try:
            work = begin(tenant_id, order, now)
        except NotSent:
            text = _("The queue of background tasks does not answer: the rest stays as it is. Begin again later.")
            messages.warning(self._request, self._done_words(now.changed))
            messages.error(self._request, text)
            return redirect(self._back)
        watched = urlencode({**self._filters(), "do": self._doing, "work": work})
        return redirect(f"{self._request.path}?{watched}")

    def _watch(self) -> HttpResponse:
        """How far the task has come; `part=body` is what the page asks for again and again."""
        ident = _uuid(self._values["work"])
        now = progress(current_tenant(), ident) if ident is not None else None
        if now is None:
            messages.warning(self._request, _("Nothing is known any more of this piece of work."))
            return redirect(self._back)
        context: dict[str, Any] = {
            "title": _("Send dead letters again") if self._doing == REPLAY else _("Purge dead letters"),
            "now": now,
            "percent": 100 if now.done or not now.total else round(100 * now.seen / now.total),
            "done_words": self._done_words(now.changed),
            "back": self._back,
        }
        if self._request.GET.get("part") == "body":
            return TemplateResponse(self._request, "console/progress_body.html", context)
        query = self._request.GET.copy()
        query["part"] = "body"
        page = {**self._admin.admin_site.each_context(self._request), "opts": self._admin.opts, **context}
        return TemplateResponse(self._request, "console/progress.html", {**page, "again": f"?{query.urlencode()}"})

    def _done_words(self, changed: int) -> str:
        if self._doing == REPLAY:
            words = ngettext(
                "%(count)d delivery will be sent again.", "%(count)d deliveries will be sent again.", changed
            )
        else:
            words = gettext("%(count)d deleted.")
        return words % {"count": changed}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
