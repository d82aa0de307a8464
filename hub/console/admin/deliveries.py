"""The outbox, and what happened."""

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString

from hub.console.base import ChoiceFilter, Rank, ReadOnlyAdmin, _, site
from hub.console.decorators import action, display
from hub.console.drawing import badge, link
from hub.models import Delivery, DeliveryStatus, Event
from hub.pipeline.operating import retry_delivery, skip_delivery

STATUS_LABEL = {
    "pending": "info",
    "sending": "info",
    "live": "info",
    "sent": "good",
    "retry": "warn",
    "unknown": "warn",
    "dead": "bad",
    "skipped": "bad",
}


class DeliveryStatusFilter(ChoiceFilter):
    """One status."""

    title = _("status")
    parameter_name = field = "status"
    options = DeliveryStatus.choices


class DeliveryAdmin(ReadOnlyAdmin):
    """Parts on their way. Ended ones can be sent again, waiting ones skipped; both are noted as events."""

    list_display = ("created", "shown_status", "connection", "shown_session", "attempts", "due_at", "sent_at", "detail")
    list_filter = (DeliveryStatusFilter,)
    list_select_related = ("connection",)
    fields = (
        ("shown_status", "attempts"),
        ("connection", "shown_session"),
        ("shown_turn", "position"),
        ("part_index", "final"),
        ("created", "due_at"),
        ("sent_at", "expires_at"),
        ("platform_id", "receipt"),
        "detail",
    )
    ordering = ("-created",)
    actions = ("retry", "skip")
    actions_detail = ("retry_this", "skip_this")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without what the joined connection keeps sealed."""
        return super().get_queryset(request).defer("address", "part", "connection__secrets")

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Operators."""
        return self._may(request, Rank.OPERATOR)

    @action(description=_("Send again"), permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Send the chosen ones again."""
        ids = queryset.values_list("id", flat=True)[:500]
        done = sum(retry_delivery(ident, by=request.user.get_username()) for ident in ids)
        messages.success(request, _("%(count)d deliveries will be sent again.") % {"count": done})

    @action(description=_("Skip"), permissions=["operate"])
    def skip(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Give the chosen ones up."""
        ids = queryset.values_list("id", flat=True)[:500]
        done = sum(skip_delivery(ident, by=request.user.get_username()) for ident in ids)
        messages.success(request, _("%(count)d deliveries were skipped.") % {"count": done})

    @action(description=_("Send again"), permissions=["operate"], url_path="retry")
    def retry_this(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Send this one again."""
        done = retry_delivery(object_id, by=request.user.get_username())
        _tell(request, done, _("It will be sent again."))
        return redirect("admin:hub_delivery_change", object_id)

    @action(description=_("Skip"), permissions=["operate"], url_path="skip")
    def skip_this(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Give this one up."""
        done = skip_delivery(object_id, by=request.user.get_username())
        _tell(request, done, _("It was skipped."))
        return redirect("admin:hub_delivery_change", object_id)

    @display(description=_("status"))
    def shown_status(self, obj: Delivery) -> SafeString:
        """The status, coloured."""
        return badge(STATUS_LABEL[obj.status], obj.get_status_display())

    @display(description=_("session"))
    def shown_session(self, obj: Delivery) -> SafeString | str:
        """Its conversation."""
        return link("hub_session", obj.session_id)

    @display(description=_("turn"))
    def shown_turn(self, obj: Delivery) -> SafeString | str:
        """The turn that it answers."""
        return link("hub_turn", obj.turn_id)


class EventAdmin(ReadOnlyAdmin):
    """What an operator may want to know: refusals, faults, take-overs, and who changed what."""

    list_display = ("created", "type", "shown_data", "shown_session", "shown_delivery")
    fields = ("created", "type", "shown_data", "connection_id", "shown_session", "turn_id", "shown_delivery")
    ordering = ("-created",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Data is small and is what one looks for."""
        return super().get_queryset(request).defer(None)

    @display(description=_("data"))
    def shown_data(self, obj: Event) -> str:
        """Names, counts and reasons."""
        return ", ".join(f"{key}: {value}" for key, value in (obj.data or {}).items())[:300]

    @display(description=_("session"))
    def shown_session(self, obj: Event) -> SafeString | str:
        """The conversation."""
        return link("hub_session", obj.session_id)

    @display(description=_("delivery"))
    def shown_delivery(self, obj: Event) -> SafeString | str:
        """The delivery."""
        return link("hub_delivery", obj.delivery_id)


def _tell(request: HttpRequest, done: bool, words: Any) -> None:  # noqa: FBT001
    if done:
        messages.success(request, words)
    else:
        messages.warning(request, _("Its status does not allow that."))


site.register(Delivery, DeliveryAdmin)
site.register(Event, EventAdmin)
