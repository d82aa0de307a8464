"""Sessions readable as a chat, and messages."""

from collections.abc import Sequence
from typing import Any, Final

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from hub.console.base import ChoiceFilter, ConsoleAdmin, Form, Rank, ReadOnlyAdmin, _, capitalise, site
from hub.console.decorators import display
from hub.console.drawing import link, short
from hub.console.keyset import SearchById
from hub.console.titles import NamedSessions
from hub.console.transcript import transcript
from hub.console.words import REFUSALS, ROLES
from hub.models import Contact, Message, Session, SessionOwner
from hub.pipeline.operating import name_session
from hub.pipeline.reading import contact_name, message_body, session_title
from hub.templatetags.turns import moment
from tenants.context import current

RECENT_SESSIONS: Final = 20
EACH: Final = 25
"""Messages of each recent session that the list of all sessions may show."""


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


class SessionAdmin(SearchById, ConsoleAdmin):
    """Conversations; the page of one shows what was said and follows what is being said."""

    change_rank = Rank.OPERATOR
    intro = _("Conversations, the one in which somebody wrote last first. Open one to read along.")
    list_display = ("shown_title", "person", "connection", "owner", "waiting", "last_seq", "last_heard")
    search_help_text = _("Paste the id of a session")
    list_filter = (OwnerFilter, ArchivedFilter)
    list_select_related = ("connection",)
    ordering = ("-last_inbound_at",)
    form = SessionForm
    readonly_fields = ("connection", "owner", "person", "last_inbound_at", "waiting", "created", "shown_title")
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
        """Folded above the chat, which is what one comes for."""
        title = "words" if self._may(request, Rank.OPERATOR) else "shown_title"
        rows = (title, ("starred", "archived"), ("person", "connection"), ("owner", "waiting"), "last_inbound_at")
        return ((_("About this conversation"), {"fields": rows, "classes": ["collapse"]}),)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With the transcript; with `live=<seq>` only what came after it, for the page that follows."""
        readable = current().tenant_id is not None and self.has_view_permission(request)
        if "live" in request.GET and readable:
            fresh = {"transcript": transcript(object_id, after=request.GET["live"] or "0")}
            return TemplateResponse(request, "console/transcript_live.html", fresh)
        page = transcript(object_id, before=request.GET.get("before", "")) if readable else None
        context = {**(extra_context or {}), "transcript": page, "subtitle": None}
        return super().change_view(request, object_id, form_url, context)  # type: ignore[no-any-return]

    def save_model(self, request: HttpRequest, obj: Session, form: Any, change: bool) -> None:  # noqa: FBT001
        """Only the columns that people own: the ledger's are changed under its lock."""
        Session.objects.filter(id=obj.id).update(starred=obj.starred, archived=obj.archived)
        if "words" in form.changed_data:
            name_session(obj, form.cleaned_data["words"])

    def page_title(self, row: Session) -> str:
        """The title."""
        return self.shown_title(row)

    @display(description=_("title"))
    def shown_title(self, obj: Session) -> str:
        """The title, or the end of the id."""
        return (session_title(obj) if current().tenant_id else "") or short(obj.id)

    def fetched(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """People's names, for those who work in the tenant."""
        if current().tenant_id is None:
            return
        wanted = {row.contact_id for row in rows if row.contact_id}
        found = Contact.objects.filter(id__in=wanted).only("id", "tenant_id", "name") if wanted else ()
        names = {one.id: contact_name(one) for one in found}
        for row in rows:
            row.person_name = names.get(row.contact_id, "")

    @display(description=_("person"))
    def person(self, obj: Session) -> SafeString | str:
        """Whom it is with."""
        known = getattr(obj, "person_name", None)
        if known is None:
            self.fetched(None, [obj])  # type: ignore[arg-type]
        return link("hub_contact", obj.contact_id, getattr(obj, "person_name", ""))

    @display(description=_("last message"))
    def last_heard(self, obj: Session) -> SafeString | str:
        """When somebody last wrote."""
        return moment(obj.last_inbound_at)

    @display(description=_("waiting turns"))
    def waiting(self, obj: Session) -> int:
        """Turns that are due."""
        return obj.due_turns


class MessageAdmin(SearchById, NamedSessions, ReadOnlyAdmin):
    """The newest messages of the sessions that were last active; one session's whole story is on its own page."""

    list_display = ("when", "shown_role", "preview", "shown_session", "shown_turn", "shown_status", "model", "tokens")
    fields = (
        "created",
        "shown_role",
        "preview",
        "shown_session",
        "shown_turn",
        "seq",
        "shown_status",
        "model",
        "tokens",
    )
    intro = _("What was said last, in all conversations. Open a conversation to read all of it.")
    ordering = ("-id",)
    list_filter = ()
    search_help_text = _("Paste the id of a message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The index is by session and place: the ends of few sessions are found by it."""
        rows = super().get_queryset(request).defer(None)
        match = request.resolver_match
        if match is None or not str(match.url_name).endswith("_changelist") or request.GET.get("q"):
            return rows
        recent = Session.objects.order_by("-last_inbound_at")
        if current().tenant_id is None:
            recent = Session.objects.order_by("-id")
        wanted = Q(pk__in=[])
        for ident, last in recent.values_list("id", "last_seq")[:RECENT_SESSIONS]:
            wanted |= Q(session_id=ident, seq__gt=last - EACH)
        return rows.filter(wanted)

    @display(description=_("time"))
    def when(self, obj: Message) -> SafeString | str:
        """When it was made."""
        return moment(obj.created)

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

    @display(description=_("role"))
    def shown_role(self, obj: Message) -> str:
        """Who said it, in words."""
        return str(ROLES.get(obj.role, obj.role))

    @display(description=_("status"))
    def shown_status(self, obj: Message) -> str:
        """What became of it, and why."""
        words = obj.get_status_display()
        return f"{words}: {REFUSALS.get(obj.reason, obj.reason)}" if obj.reason else words

    def _lists(self, obj: Message) -> bool:
        return not getattr(obj, "whole", False)

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """The page of one message shows all of it."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.whole = True
        return row

    @display(description=_("turn"))
    def shown_turn(self, obj: Message) -> SafeString | str:
        """The turn that owns it."""
        return link("hub_turn", obj.turn_id, str(_("trace")))


site.register(Session, SessionAdmin)
site.register(Message, MessageAdmin)
