"""Turns; the page of one is its trace."""

from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from hub.console.base import ChoiceFilter, Rank, ReadOnlyAdmin, _, site
from hub.console.confirming import Question, ask, confirmed
from hub.console.decorators import action, display
from hub.console.drawing import badge
from hub.console.graph import workflow_graph
from hub.console.keyset import SearchById
from hub.console.titles import NamedSessions
from hub.console.trace import turn_page
from hub.models import Turn, TurnStatus
from hub.pipeline.operating import rerun_turn
from hub.pipeline.reading import tool_texts
from hub.templatetags.turns import duration, moment
from tenants.audit import Actor, record
from tenants.context import current

TURN_TONES = {
    "due": "info",
    "running": "info",
    "finished": "good",
    "stopped": "warn",
    "failed": "warn",
    "dead": "bad",
}
MOST_CHOSEN: Final = 200
WRONG = (TurnStatus.DEAD, TurnStatus.FAILED)


class TurnStatusFilter(ChoiceFilter):
    """One status, or everything that went wrong."""

    title = _("status")
    parameter_name = field = "status"
    options = (("wrong", _("dead or failed")), *TurnStatus.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The two ends that went wrong have an index of their own, so both are said in its words."""
        wrong = queryset.filter(status__in=[status.value for status in WRONG])
        if self.value() == "wrong":
            return wrong
        found = wrong if self.value() in WRONG else queryset
        return super().queryset(request, found)


class TurnAdmin(SearchById, NamedSessions, ReadOnlyAdmin):
    """Answering passes. The page of one shows where its time and tokens went and what became of its answer."""

    intro = _("Answering passes: where the time and the tokens of each answer went, step by step.")
    list_display = ("when", "shown_status", "shown_session", "model", "used", "first_word", "lasted", "error")
    list_filter = (TurnStatusFilter,)
    ordering = ("-created",)
    id_columns = ("id", "session_id")
    search_help_text = _("Paste the id of a turn or of a session")

    actions = ("rerun",)

    def get_urls(self) -> list[URLPattern]:
        """With the words of a tool call, and running again."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:object_id>/tool/<int:number>/", wrap(self.tool_view), name="hub_turn_tool"),
            path("<uuid:object_id>/rerun/", wrap(self.rerun_view), name="hub_turn_rerun"),
            *super().get_urls(),
        ]

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Operators."""
        return self._may(request, Rank.OPERATOR)

    @action(description=_("Run again"), permissions=["operate"])
    def rerun(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Let the agent answer the chosen ones once more."""
        ids = list(queryset.values_list("id", flat=True)[:MOST_CHOSEN])
        if not confirmed(request):
            fields = {"action": "rerun", "_selected_action": [str(ident) for ident in ids]}
            return ask(request, self, _question(reverse("admin:hub_turn_changelist"), number=len(ids), fields=fields))
        done = sum(_rerun(request, ident) for ident in ids)
        words = ngettext("%(count)d turn will be run again.", "%(count)d turns will be run again.", done)
        messages.success(request, words % {"count": done})
        return None

    def rerun_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Let the agent answer this one once more."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        page = reverse("admin:hub_turn_change", args=[object_id])
        if not confirmed(request):
            return ask(request, self, _question(page))
        if _rerun(request, object_id):
            messages.success(request, _("The turn will be run again."))
        else:
            messages.warning(request, _("Its status does not allow that."))
        return redirect(page)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The trace; with `part=body` the inner part alone, for pages that follow a running turn."""
        turn = self._turn(request, object_id)
        if turn is None:
            missing: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return missing
        page = turn_page(turn, readable=current().tenant_id is not None)
        context = {
            "page": page,
            "graph": workflow_graph("standard", taken=page.taken),
            "status": badge(TURN_TONES[turn.status], turn.get_status_display()),
            "may_rerun": turn.status in WRONG and turn.kind == "reply" and self.has_operate_permission(request),
        }
        if request.GET.get("part") == "body":
            return TemplateResponse(request, "console/turn_body.html", context)
        head = {"title": _("Turn"), "subtitle": str(turn), "opts": self.opts, "original": turn}
        return TemplateResponse(
            request, "console/turn.html", {**self.admin_site.each_context(request), **head, **context}
        )

    def tool_view(self, request: HttpRequest, object_id: UUID, number: int) -> HttpResponse:
        """What one tool call was asked and what it said."""
        turn = self._turn(request, object_id)
        if turn is None or current().tenant_id is None:
            raise Http404
        texts = tool_texts(turn)
        asked, said = texts[number] if number < len(texts) else ("", "")
        response = TemplateResponse(request, "console/tool_words.html", {"asked": asked, "said": said})
        response["Cache-Control"] = "no-store"
        return response

    def _turn(self, request: HttpRequest, object_id: object) -> Turn | None:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            ident = UUID(str(object_id))
        except ValueError:
            return None
        return Turn.objects.filter(id=ident).first()

    @display(description=_("time"))
    def when(self, obj: Turn) -> SafeString | str:
        """When it was made."""
        return moment(obj.created)

    @display(description=_("status"))
    def shown_status(self, obj: Turn) -> SafeString:
        """The status, coloured."""
        return badge(TURN_TONES[obj.status], obj.get_status_display())

    @display(description=_("tokens in / out"))
    def used(self, obj: Turn) -> str:
        """Tokens."""
        return f"{obj.input_tokens:,} / {obj.output_tokens:,}"

    @display(description=_("to the first word"))
    def first_word(self, obj: Turn) -> str:
        """From the message's arrival to the first word of the answer."""
        return duration(_ms(obj.created, obj.first_token_at))

    @display(description=_("whole"))
    def lasted(self, obj: Turn) -> str:
        """From the message's arrival to the stored answer."""
        return duration(_ms(obj.created, obj.finished_at))


def _question(back: str, *, number: int | None = None, fields: Any = None) -> Question:
    return Question(
        title=_("Run again?"),
        number=number,
        words=_("The agent answers the same messages once more; its new answer follows what was said since."),
        warning=_("Tools that have acted already are not run twice. Only dead and failed turns are run again."),
        go=_("Run again"),
        back=back,
        fields=fields or {},
    )


def _rerun(request: HttpRequest, turn_id: UUID) -> bool:
    actor = Actor.of(request.user)
    with transaction.atomic():
        done = rerun_turn(turn_id, by=actor.name)
        if done:
            row = Turn.objects.only("id", "tenant_id").get(id=turn_id)
            record(row.tenant_id, "turn.rerun", actor=actor, subject=row, after={"status": "due"})
    return done


def _ms(start: Any, end: Any) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start).total_seconds() * 1000)


site.register(Turn, TurnAdmin)
