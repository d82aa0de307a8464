"""The outbox with its dead letters, and what happened."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from hub.console.admin.letters import AGES, NAMES, LettersView, window
from hub.console.base import ChoiceFilter, Rank, ReadOnlyAdmin, _, site
from hub.console.confirming import Question, ask, confirmed
from hub.console.decorators import action, display
from hub.console.drawing import DASH, badge, link
from hub.console.happened import event_data, reason
from hub.console.keyset import SearchById
from hub.console.titles import NamedSessions
from hub.console.transcript import TONES
from hub.console.turn_words import RECEIPTS
from hub.models import Connection, Delivery, DeliveryStatus, Event
from hub.pipeline.operating import RETRIABLE, SKIPPABLE, retry_delivery, skip_delivery
from hub.pipeline.reading import delivery_part
from hub.replay import LETTERS, MOST_COUNTED, Letters
from hub.templatetags.console import event_name
from hub.templatetags.turns import moment
from tenants.audit import Actor, record
from tenants.context import current

MOST_CHOSEN: Final = 500


class DeliveryStatusFilter(ChoiceFilter):
    """One status, or everything that somebody has to look at."""

    title = _("status")
    parameter_name = field = "status"
    options = (("letters", _("dead letters")), *DeliveryStatus.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The ends that went wrong have an index of their own, so they are said in its words."""
        wrong = queryset.filter(status__in=[str(status) for status in LETTERS])
        if self.value() == "letters":
            return wrong
        return super().queryset(request, wrong if self.value() in [str(one) for one in LETTERS] else queryset)


class AgeFilter(ChoiceFilter):
    """When it was made."""

    title = _("age")
    parameter_name = "age"
    options = tuple((name, words) for name, (words, _young, _old) in AGES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Within the window."""
        since, until = window(self.value() or "")
        queryset = queryset.filter(created__gte=since) if since else queryset
        return queryset.filter(created__lte=until) if until else queryset


class ConnectionFilter(ChoiceFilter):
    """One connection of the tenant."""

    title = _("connection")
    parameter_name = "connection"
    field = "connection_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The tenant's connections, the newest hundred."""
        if current().tenant_id is None:
            return []
        rows = Connection.objects.order_by("-id").only("id", "tenant_id", "name", "channel")[:100]
        return [(str(row.id), str(row)) for row in rows]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows of the connection; nothing for what is no id."""
        try:
            return queryset.filter(connection_id=UUID(self.value())) if self.value() else queryset
        except ValueError:
            return queryset.none()


class ReasonFilter(ChoiceFilter):
    """Why it ended badly, out of the newest dead letters."""

    title = _("reason")
    parameter_name = "reason"
    field = "detail"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The most frequent reasons of the newest 500."""
        newest = Letters().rows().order_by("-created", "-id").values_list("detail", flat=True)[:500]
        counts = Counter(detail for detail in newest if detail)
        return [(detail, f"{reason(detail)[:60]} ({count})") for detail, count in counts.most_common(12)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Dead letters with this reason."""
        letters = queryset.filter(status__in=[str(status) for status in LETTERS])
        return letters.filter(detail=self.value()) if self.value() else queryset


class DeliveryAdmin(SearchById, NamedSessions, ReadOnlyAdmin):
    """Parts on their way. Ended ones can be sent again, waiting ones skipped, dead letters worked through."""

    intro = _("What goes out to platforms, part by part, and what became of it.")
    list_display = ("when", "shown_status", "connection", "shown_session", "shown_turn", "attempts", "why")
    list_filter = (DeliveryStatusFilter, ConnectionFilter, AgeFilter, ReasonFilter)
    list_select_related = ("connection",)
    list_before_template = "console/letters.html"
    id_columns = ("id", "session_id")
    search_help_text = _("Paste the id of a delivery or of a session")
    fields = (
        ("shown_status", "attempts"),
        ("connection", "shown_session"),
        ("shown_turn", "shown_receipt"),
        ("created", "due_at"),
        ("sent_at", "expires_at"),
        "why",
        "words",
        ("platform_id", "position"),
        ("part_number", "final"),
    )
    ordering = ("-created",)
    actions = ("retry", "skip")
    actions_detail = ("retry_this", "skip_this")

    def get_urls(self) -> list[URLPattern]:
        """With the work on many, and the way from a delivery to its turn."""
        wrap = self.admin_site.admin_view
        return [
            path("bulk/", wrap(lambda request: LettersView(self, request).respond()), name="hub_delivery_bulk"),
            path("<uuid:object_id>/turn/", wrap(self.turn_view), name="hub_delivery_turn"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With what is dead, and what may be done about it."""
        context = {**(extra_context or {}), "letters": self._standing(request)}
        return super().changelist_view(request, context)  # type: ignore[no-any-return]

    def _standing(self, request: HttpRequest) -> dict[str, Any] | None:
        if current().tenant_id is None or request.method != "GET":
            return None
        found = Counter(Letters().rows().values_list("status", flat=True)[:MOST_COUNTED])
        more = sum(found.values()) >= MOST_COUNTED
        words = dict(DeliveryStatus.choices)
        counts = [{"status": s.value, "words": words[s], "count": found[s.value], "more": more} for s in LETTERS]
        kept = {name: request.GET[name] for name in NAMES if request.GET.get(name)}
        if kept.get("status") not in [status.value for status in LETTERS]:
            kept.pop("status", None)
        return {"counts": counts, "may": self.has_operate_permission(request), "query": urlencode(kept)}

    def turn_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """On to the turn that a delivery answers."""
        row = Delivery.objects.filter(id=object_id).values_list("turn_id", flat=True).first()
        if row is None or not self.has_view_permission(request):
            raise Http404
        return redirect("admin:hub_turn_change", row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without what the joined connection keeps sealed."""
        rows = super().get_queryset(request)
        return rows.defer("address", "part", "connection__secrets") if _lists(request) else rows

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Operators."""
        return self._may(request, Rank.OPERATOR)

    def has_resend_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Operators, for what has ended or waits."""
        return self._in_time(request, object_id, RETRIABLE)

    def has_skip_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Operators, for what waits."""
        return self._in_time(request, object_id, SKIPPABLE)

    def _in_time(self, request: HttpRequest, object_id: Any, wanted: Sequence[str]) -> bool:
        """Who has asked while it was time gets an answer, not a refusal."""
        if not self.has_operate_permission(request) or object_id is None or request.method == "POST":
            return self.has_operate_permission(request)
        return Delivery.objects.filter(id=object_id, status__in=wanted).exists()

    @action(description=_("Send again"), permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Send the chosen ones again."""
        return self._chosen(request, queryset, "retry")

    @action(description=_("Skip"), permissions=["operate"])
    def skip(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Give the chosen ones up."""
        return self._chosen(request, queryset, "skip")

    @action(description=_("Send again"), permissions=["resend"], url_path="retry")
    def retry_this(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Send this one again."""
        return self._one(request, object_id, "retry")

    @action(description=_("Skip"), permissions=["skip"], url_path="skip")
    def skip_this(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Give this one up."""
        return self._one(request, object_id, "skip")

    def _chosen(self, request: HttpRequest, queryset: QuerySet[Any], doing: str) -> HttpResponse | None:
        ids = list(queryset.values_list("id", flat=True)[:MOST_CHOSEN])
        if not confirmed(request):
            back = reverse("admin:hub_delivery_changelist")
            fields = {"action": doing, "_selected_action": [str(ident) for ident in ids]}
            return ask(request, self, question(doing, back, number=len(ids), fields=fields))
        done = sum(_do(request, ident, doing) for ident in ids)
        if doing == "retry":
            words = ngettext("%(count)d delivery will be sent again.", "%(count)d deliveries will be sent again.", done)
        else:
            words = ngettext("%(count)d was skipped.", "%(count)d were skipped.", done)
        messages.success(request, words % {"count": done})
        return None

    def _one(self, request: HttpRequest, object_id: Any, doing: str) -> HttpResponse:
        page = reverse("admin:hub_delivery_change", args=[object_id])
        if not confirmed(request):
            return ask(request, self, question(doing, page))
        words = _("It will be sent again.") if doing == "retry" else _("It was skipped.")
        _tell(request, _do(request, object_id, doing), words)
        return redirect(page)

    @display(description=_("time"))
    def when(self, obj: Delivery) -> SafeString | str:
        """When it was made."""
        return moment(obj.created)

    @display(description=_("status"))
    def shown_status(self, obj: Delivery) -> SafeString:
        """The status, coloured."""
        return badge(TONES[obj.status], obj.get_status_display())

    @display(description=_("turn"))
    def shown_turn(self, obj: Delivery) -> SafeString | str:
        """The turn that it answers."""
        return link("hub_turn", obj.turn_id, str(_("trace")))

    @display(description=_("reason"))
    def why(self, obj: Delivery) -> str:
        """Why it ended as it did."""
        return reason(obj.detail) or DASH

    @display(description=_("receipt"))
    def shown_receipt(self, obj: Delivery) -> Any:
        """How far the platform says it came."""
        return RECEIPTS.get(obj.receipt, DASH)

    @display(description=_("part"))
    def part_number(self, obj: Delivery) -> int:
        """As people count."""
        return obj.part_index + 1

    @display(description=_("text"))
    def words(self, obj: Delivery) -> str:
        """What the part says, for those who work in the tenant."""
        if current().tenant_id is None:
            return str(_("choose the tenant to read"))
        return str(delivery_part(obj).get("text") or "") or DASH


class EventAdmin(SearchById, NamedSessions, ReadOnlyAdmin):
    """What an operator may want to know: refusals, faults, take-overs, and who changed what."""

    intro = _("Refusals, faults and changes: what somebody may want to know afterwards.")
    list_display = ("when", "shown_type", "shown_data", "shown_turn", "shown_session", "shown_delivery")
    fields = (
        "created",
        "shown_type",
        "shown_data",
        "shown_connection",
        "shown_session",
        "shown_turn",
        "shown_delivery",
    )
    ordering = ("-created",)
    id_columns = ("id", "turn_id", "delivery_id")
    search_help_text = _("Paste the id of an event, a turn or a delivery")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Data is small and is what one looks for."""
        return super().get_queryset(request).defer(None)

    @display(description=_("time"))
    def when(self, obj: Event) -> SafeString | str:
        """When it was made."""
        return moment(obj.created)

    @display(description=_("data"))
    def shown_data(self, obj: Event) -> str:
        """Names, counts and reasons."""
        return event_data(obj.type, obj.data or {})

    @display(description=_("type"))
    def shown_type(self, obj: Event) -> SafeString:
        """In words; programs know it by the other name."""
        return format_html('<span title="{}">{}</span>', obj.type, event_name(obj.type))

    @display(description=_("connection"))
    def shown_connection(self, obj: Event) -> SafeString | str:
        """The connection."""
        return link("hub_connection", obj.connection_id)

    @display(description=_("turn"))
    def shown_turn(self, obj: Event) -> SafeString | str:
        """The turn, that of the delivery where the event names only that."""
        if obj.turn_id is None and obj.delivery_id is not None:
            href = reverse("admin:hub_delivery_turn", args=[obj.delivery_id])
            return format_html('<a class="row-link" href="{}">{}</a>', href, _("trace"))
        return link("hub_turn", obj.turn_id, str(_("trace")))

    @display(description=_("delivery"))
    def shown_delivery(self, obj: Event) -> SafeString | str:
        """The delivery."""
        return link("hub_delivery", obj.delivery_id, str(_("show")))


def question(doing: str, back: str, *, number: int | None = None, fields: Any = None) -> Question:
    """What is asked before chosen deliveries are sent again or given up."""
    if doing == "retry":
        return Question(
            title=_("Send again?"),
            number=number,
            words=_("It becomes due at once and keeps its place in the session. Only what has ended or waits is sent."),
            warning=_("Where the outcome is unknown, people may read it twice."),
            go=_("Send again"),
            back=back,
            fields=fields or {},
        )
    return Question(
        title=_("Give it up?"),
        number=number,
        words=_("It is never sent, and later parts may go. Only what waits can be skipped."),
        go=_("Skip"),
        harms=True,
        back=back,
        fields=fields or {},
    )


def _do(request: HttpRequest, delivery_id: Any, doing: str) -> bool:
    """Do it and leave a line in the audit trail, in one transaction."""
    actor = Actor.of(request.user)
    act, verb = (retry_delivery, "delivery.replayed") if doing == "retry" else (skip_delivery, "delivery.skipped")
    with transaction.atomic():
        before = Delivery.objects.filter(id=delivery_id).values_list("status", flat=True).first()
        done = act(delivery_id, by=actor.name)
        if done:
            row = Delivery.objects.only("id", "tenant_id", "status").get(id=delivery_id)
            after = {"status": row.status}
            record(row.tenant_id, verb, actor=actor, subject=row, before={"status": before}, after=after)
    return done


def _lists(request: HttpRequest) -> bool:
    return request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_changelist")


def _tell(request: HttpRequest, done: bool, words: Any) -> None:  # noqa: FBT001
    if done:
        messages.success(request, words)
    else:
        messages.warning(request, _("Its status does not allow that."))


site.register(Delivery, DeliveryAdmin)
site.register(Event, EventAdmin)
