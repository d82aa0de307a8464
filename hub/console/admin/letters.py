"""Dead letters of the list's filters, sent again or purged: asked first, then done in batches with progress."""

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
from django.utils.translation import gettext_lazy as _

from hub.console.confirming import CONFIRMED, Question, ask, confirmed
from hub.models import Connection, DeliveryStatus
from hub.replay import LETTERS, MOST_COUNTED, REPLAYABLE, Cursor, Letters, purge_batch, replay_batch
from tenants.audit import Actor, record
from tenants.context import current_tenant

REPLAY: Final = "replay"
PURGE: Final = "purge"
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
    """The question, and the batches that follow its answer. Made per request."""

    def __init__(self, admin: Any, request: HttpRequest) -> None:
        self._admin, self._request = admin, request
        values = request.POST if request.method == "POST" else request.GET
        self._values = {name: values.get(name, "") for name in (*_KEPT, "after", "seen", "changed")}
        self._doing = self._values["do"]
        self._back = reverse("admin:hub_delivery_changelist") + "?" + urlencode(self._filters())

    def respond(self) -> HttpResponse:
        """Ask, or do the next batch."""
        if not self._admin.has_operate_permission(self._request):
            raise PermissionDenied
        if self._doing not in (REPLAY, PURGE):
            return redirect(self._back)
        return self._step() if confirmed(self._request) else self._question()

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

    def _step(self) -> HttpResponse:
        letters = letters_of(self._values, doing=self._doing)
        cursor = _cursor(self._values["after"])
        actor = Actor.of(self._request.user)
        replaying = self._doing == REPLAY
        batch = replay_batch(letters, cursor, by=actor.name) if replaying else purge_batch(letters, cursor)
        seen = _number(self._values["seen"]) + batch.seen
        changed = _number(self._values["changed"]) + batch.changed
        if batch.changed:
            verb = "delivery.replayed" if replaying else "delivery.purged"
            label = str(_("dead letters"))
            record(current_tenant(), verb, actor=actor, label=label, after={**self._filters(), "count": batch.changed})
        following = {"after": f"{batch.cursor.created.isoformat()}~{batch.cursor.id}"} if batch.cursor else None
        return self._progress(seen, changed, following)

    def _progress(self, seen: int, changed: int, following: dict[str, str] | None) -> HttpResponse:
        total = max(_number(self._values["total"]), seen)
        kept = {name: self._values[name] for name in _KEPT if self._values[name]}
        going = {**kept, "seen": seen, "changed": changed, CONFIRMED: "yes"}
        words = _("%(count)d deliveries will be sent again.") if self._doing == REPLAY else _("%(count)d deleted.")
        context: dict[str, Any] = {
            "title": _("Send dead letters again") if self._doing == REPLAY else _("Purge dead letters"),
            "seen": seen,
            "total": total,
            "percent": round(100 * seen / total) if following and total else 100,
            "fields": [*going.items(), *following.items()] if following else [],
            "done_words": words % {"count": changed},
            "back": self._back,
        }
        if self._request.POST.get("part") == "body":
            return TemplateResponse(self._request, "console/progress_body.html", context)
        if not following:
            messages.success(self._request, context["done_words"])
            return redirect(self._back)
        page = {**self._admin.admin_site.each_context(self._request), "opts": self._admin.opts, **context}
        return TemplateResponse(self._request, "console/progress.html", page)


def _cursor(text: str) -> Cursor | None:
    created, _between, ident = text.partition("~")
    moment, key = parse_datetime(created) if created else None, _uuid(ident)
    return Cursor(moment, key) if moment is not None and key is not None else None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
