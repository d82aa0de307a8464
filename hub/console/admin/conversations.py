"""Sessions readable as a chat, messages, turns with their trace."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from hub.console.base import ChoiceFilter, ConsoleAdmin, Form, Rank, ReadOnlyAdmin, _, capitalise, site
from hub.console.decorators import display
from hub.console.drawing import DASH, badge, link, short, trace_table
from hub.console.transcript import transcript
from hub.models import Message, Session, SessionOwner, Turn, TurnStatus
from hub.pipeline.operating import name_session
from hub.pipeline.reading import message_body, session_title
from tenants.context import current

TURN_LABEL = {
    "due": "info",
    "running": "info",
    "finished": "good",
    "stopped": "warn",
    "failed": "warn",
    "dead": "bad",
}
RECENT_SESSIONS = 50


class OwnerFilter(ChoiceFilter):
    """Who answers."""

    title = _("owner")
    parameter_name = field = "owner"
    options = SessionOwner.choices


class ArchivedFilter(ChoiceFilter):
    """Archived or not."""

    title = _("archived")
    parameter_name = field = "archived"
    options = (("True", _("yes")), ("False", _("no")))


class SessionForm(Form):
    """What people may change of a session."""

    words = forms.CharField(label=_("title"), max_length=200, required=False, widget=UnfoldAdminTextInputWidget)

    class Meta:
        model = Session
        fields = ("starred", "archived")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        capitalise(self)
        self.initial["words"] = session_title(self.instance)


class SessionAdmin(ConsoleAdmin):
    """Conversations; the page of one shows what was said."""

    change_rank = Rank.OPERATOR
    list_display = ("shown_title", "connection", "owner", "starred", "waiting", "last_seq", "last_inbound_at")
    list_filter = (OwnerFilter, ArchivedFilter)
    list_select_related = ("connection",)
    ordering = ("-last_inbound_at",)
    form = SessionForm
    readonly_fields = ("connection", "owner", "generation", "last_inbound_at", "waiting", "created", "shown_title")
    change_form_outer_after_template = "console/transcript.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Titles are shown; addresses and the connection's secrets stay where they are."""
        rows = super().get_queryset(request)
        return rows.defer(None).defer("address", "address_hash", "connection__secrets").select_related("connection")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001
        """Those who only look get no form."""
        if not self._may(request, Rank.OPERATOR):
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """One compact block above the chat."""
        title = "words" if self._may(request, Rank.OPERATOR) else "shown_title"
        return (
            (
                None,
                {"fields": (title, ("starred", "archived"), ("connection", "owner"), ("waiting", "last_inbound_at"))},
            ),
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With the transcript."""
        page = transcript(object_id, before=request.GET.get("before", "")) if current().tenant_id else None
        context = {**(extra_context or {}), "transcript": page, "subtitle": None}
        return super().change_view(request, object_id, form_url, context)  # type: ignore[no-any-return]

    def save_model(self, request: HttpRequest, obj: Session, form: Any, change: bool) -> None:  # noqa: FBT001
        """Only the columns that people own: the ledger's are changed under its lock."""
        Session.objects.filter(id=obj.id).update(starred=obj.starred, archived=obj.archived)
        if "words" in form.changed_data:
            name_session(obj, form.cleaned_data["words"])

    @display(description=_("title"))
    def shown_title(self, obj: Session) -> str:
        """The title, or the end of the id."""
        return (session_title(obj) if current().tenant_id else "") or short(obj.id)

    @display(description=_("waiting turns"))
    def waiting(self, obj: Session) -> int:
        """Turns that are due."""
        return obj.due_turns


class MessageAdmin(ReadOnlyAdmin):
    """Messages of the sessions that were last active, or of one session."""

    list_display = ("created", "role", "preview", "shown_session", "seq", "status", "reason", "model", "tokens")
    fields = ("created", "role", "preview", "shown_session", "shown_turn", "seq", "status", "reason", "model", "tokens")
    ordering = ("-id",)
    list_filter = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The index is by session, so the list asks for those of few sessions."""
        rows = super().get_queryset(request).defer(None)
        match = request.resolver_match
        if match is None or not str(match.url_name).endswith("_changelist") or current().tenant_id is None:
            return rows
        recent = Session.objects.order_by("-last_inbound_at").values_list("id", flat=True)[:RECENT_SESSIONS]
        return rows.filter(session_id__in=list(recent))

    @display(description=_("text"))
    def preview(self, obj: Message) -> str:
        """What it says; texts of all tenants are not opened at once."""
        if current().tenant_id is None:
            return str(_("choose the tenant to read"))
        body = message_body(obj)
        if body is None:
            return str(_("cannot be read any more"))
        limit = 90 if self._lists(obj) else 20_000
        return body.text[:limit] + ("…" if len(body.text) > limit else "")

    def _lists(self, obj: Message) -> bool:
        return not getattr(obj, "whole", False)

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """The page of one message shows all of it."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.whole = True
        return row

    @display(description=_("session"))
    def shown_session(self, obj: Message) -> SafeString | str:
        """Its conversation."""
        return link("hub_session", obj.session_id)

    @display(description=_("turn"))
    def shown_turn(self, obj: Message) -> SafeString | str:
        """The turn that owns it."""
        return link("hub_turn", obj.turn_id)


class TurnStatusFilter(ChoiceFilter):
    """One status."""

    title = _("status")
    parameter_name = field = "status"
    options = TurnStatus.choices


class TurnAdmin(ReadOnlyAdmin):
    """Answering passes; the page of one shows where its time went."""

    list_display = ("created", "shown_status", "shown_session", "model", "used", "attempts", "lasted", "error")
    list_filter = (TurnStatusFilter,)
    fields = (
        ("shown_status", "shown_session"),
        "shown_trace",
        ("model", "used"),
        ("lasted", "attempts"),
        ("created", "started_at"),
        ("first_token_at", "finished_at"),
        ("first_seq", "last_seq"),
        ("kind", "fence"),
        ("reason", "error"),
    )
    ordering = ("-created",)

    @display(description=_("status"))
    def shown_status(self, obj: Turn) -> SafeString:
        """The status, coloured."""
        return badge(TURN_LABEL[obj.status], obj.get_status_display())

    @display(description=_("session"))
    def shown_session(self, obj: Turn) -> SafeString | str:
        """Its conversation."""
        return link("hub_session", obj.session_id)

    @display(description=_("tokens in / out"))
    def used(self, obj: Turn) -> str:
        """Tokens."""
        return f"{obj.input_tokens:,} / {obj.output_tokens:,}"

    @display(description=_("lasted"))
    def lasted(self, obj: Turn) -> str:
        """Seconds from the start to the end."""
        if obj.started_at is None or obj.finished_at is None:
            return DASH
        return f"{(obj.finished_at - obj.started_at).total_seconds():.2f} s"

    @display(description=_("trace"))
    def shown_trace(self, obj: Turn) -> SafeString | str:
        """The workflow's nodes."""
        return trace_table(obj.trace)


site.register(Session, SessionAdmin)
site.register(Message, MessageAdmin)
site.register(Turn, TurnAdmin)
