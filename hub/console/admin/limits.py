"""Quotas with what is used of them, what model calls cost, and the audit trail."""

from typing import Any

from django.db.models import Sum
from django.http import HttpRequest
from django.utils.safestring import SafeString

from hub.console.admin.tenants import ReasonForm, quota_bar
from hub.console.alerts import quota_alerts
from hub.console.base import ChoiceFilter, ConsoleAdmin, Rank, ReadOnlyAdmin, _, site
from hub.console.decorators import display
from hub.console.drawing import limit_text, size
from hub.console.tenancy import seat
from hub.console.trail import action_name, change_of, trail
from hub.console.words import ACTIONS, METRICS
from tenants.audit import Actor, changed, record
from tenants.models import AuditEntry, Metric, PlatformAudit, Quota, Usage


class MetricFilter(ChoiceFilter):
    """One metric."""

    title = _("metric")
    parameter_name = field = "metric"
    options = METRICS.items()


class QuotaForm(ReasonForm):
    """A limit that differs from the plan wants a reason."""

    wants_reason = ("override", "alert_at")

    class Meta:
        model = Quota
        fields = ("override", "alert_at")


class QuotaAdmin(ConsoleAdmin):
    """Limits with what is used of them; staff may let a tenant differ from its plan."""

    change_rank = Rank.STAFF
    list_display = ("shown_metric", "bar", "shown_limit", "override", "reserved", "period", "alerted_at")
    list_filter = (MetricFilter,)
    list_before_template = "console/alerts.html"
    readonly_fields = ("shown_metric", "bar", "shown_limit", "period", "period_start", "reserved", "shown_trail")
    ordering = ("metric",)
    form = QuotaForm

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What is used, what may be changed, what was changed."""
        changes = self.has_change_permission(request, obj)
        own = ["override", "alert_at", *(["reason"] if changes else [])]
        return (
            (None, {"fields": ["shown_metric", "bar", "shown_limit", *own]}),
            (_("Period"), {"fields": ["period", "period_start", "reserved"]}),
            (_("Audit trail"), {"fields": ["shown_trail"]}),
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With what is nearly used up, in words."""
        alerts = {"quota_alerts": quota_alerts(seat(request))}
        return super().changelist_view(request, {**(extra_context or {}), **alerts})

    def save_model(self, request: HttpRequest, obj: Quota, form: Any, change: bool) -> None:  # noqa: FBT001
        """Only the two fields: the counts beside them move meanwhile."""
        names = [name for name in ("override", "alert_at") if name in form.changed_data]
        if not names:
            return
        obj.save(update_fields=names)
        before, after = changed({name: form.initial.get(name) for name in names}, {n: getattr(obj, n) for n in names})
        label = str(METRICS[Metric(obj.metric)])
        actor, reason = Actor.of(request.user), form.cleaned_data.get("reason", "")
        record(
            obj.tenant_id,
            "quota.changed",
            actor=actor,
            subject=obj,
            label=label,
            before=before,
            after=after,
            reason=reason,
        )

    @display(description=_("metric"))
    def shown_metric(self, obj: Quota) -> Any:
        """The metric in words."""
        return METRICS[Metric(obj.metric)]

    @display(description=_("used / limit"))
    def bar(self, obj: Quota) -> SafeString:
        """The bar."""
        return quota_bar(obj)

    @display(description=_("plan's limit"))
    def shown_limit(self, obj: Quota) -> str:
        """The limit of the plan."""
        stored = obj.metric == Metric.STORAGE_BYTES and obj.limit_value > 0
        return size(obj.limit_value) if stored else limit_text(obj.limit_value)

    @display(description=_("last changes"))
    def shown_trail(self, obj: Quota) -> SafeString | str:
        """What was changed of this limit."""
        return trail(AuditEntry.objects.filter(tenant_id=obj.tenant_id, subject_id=obj.pk).order_by("-id")[:20])


class UsageAdmin(ReadOnlyAdmin):
    """Model calls and their cost."""

    list_display = ("created_at", "kind", "provider", "model", "input_tokens", "output_tokens", "cost", "estimated")
    ordering = ("-id",)
    list_after_template = "console/usage_total.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With the sum of the newest thousand calls, which an index bounds."""
        newest = Usage.objects.order_by("-id").values("input_tokens", "output_tokens", "cost")[:1000]
        total = newest.aggregate(input=Sum("input_tokens"), output=Sum("output_tokens"), cost=Sum("cost"))
        return super().changelist_view(request, {**(extra_context or {}), "usage_total": total})


class ActionFilter(ChoiceFilter):
    """One kind of change."""

    title = _("action")
    parameter_name = field = "action"
    options = ACTIONS.items()


class AuditAdmin(ReadOnlyAdmin):
    """Who changed what and why; the database lets nobody change it."""

    view_rank = Rank.OWNER
    list_display = ("created", "actor", "shown_action", "label", "shown_change", "reason")
    list_filter = (ActionFilter,)
    fields = ("created", "actor", "shown_action", "label", "shown_change", "reason", "subject", "subject_id")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With the changes, which are short."""
        return super().get_queryset(request).defer(None)

    @display(description=_("action"))
    def shown_action(self, obj: AuditEntry) -> str:
        """In words."""
        return action_name(obj.action)

    @display(description=_("change"))
    def shown_change(self, obj: AuditEntry) -> SafeString | str:
        """From what to what."""
        return change_of(obj.before, obj.after)


class PlatformAuditAdmin(AuditAdmin):
    """The same of what belongs to no tenant."""

    view_rank = Rank.STAFF
    platform = True


site.register(Quota, QuotaAdmin)
site.register(Usage, UsageAdmin)
site.register(AuditEntry, AuditAdmin)
site.register(PlatformAudit, PlatformAuditAdmin)
