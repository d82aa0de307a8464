"""Quotas with what is used of them, what model calls cost, and the audit trail."""

from typing import Any

from django.db.models import Sum
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from hub.console.admin.tenants import ReasonForm, amount, quota_bar
from hub.console.alerts import quota_alerts
from hub.console.base import ChoiceFilter, ConsoleAdmin, Rank, ReadOnlyAdmin, _, site
from hub.console.decorators import display
from hub.console.drawing import DASH, link
from hub.console.tenancy import seat
from hub.console.trail import action_name, change_of, trail
from hub.console.words import ACTIONS, KINDS, METRICS
from hub.templatetags.turns import figure, moment, money
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
    intro = _("What the tenant may use, and what it has used of it. Who has used a limit up is told so politely.")
    list_display = ("shown_metric", "bar", "shown_limit", "shown_override", "shown_reserved", "alerted")
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
        return amount(obj, obj.limit_value)

    @display(description=_("limit of its own"))
    def shown_override(self, obj: Quota) -> str:
        """Where the tenant differs from its plan."""
        return DASH if obj.override is None else amount(obj, obj.override)

    @display(description=_("reserved"))
    def shown_reserved(self, obj: Quota) -> str:
        """What turns that run have set aside."""
        return amount(obj, obj.reserved)

    @display(description=_("alerted"))
    def alerted(self, obj: Quota) -> SafeString | str:
        """When its alert was last given."""
        return moment(obj.alerted_at)

    def page_title(self, row: Quota) -> str:
        """The metric."""
        return str(self.shown_metric(row))

    @display(description=_("last changes"))
    def shown_trail(self, obj: Quota) -> SafeString | str:
        """What was changed of this limit."""
        return trail(AuditEntry.objects.filter(tenant_id=obj.tenant_id, subject_id=obj.pk).order_by("-id")[:20])


class UsageAdmin(ReadOnlyAdmin):
    """Model calls and their cost."""

    intro = _("Each call of a model, with its tokens and what it cost.")
    list_display = ("when", "shown_kind", "provider", "model", "tokens_in", "tokens_out", "shown_cost", "estimated")
    fields = (*list_display, "shown_session", "shown_turn", "shown_agent")
    ordering = ("-id",)
    list_after_template = "console/usage_total.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With the sum of the newest thousand calls, which an index bounds."""
        newest = Usage.objects.order_by("-id").values("input_tokens", "output_tokens", "cost")[:1000]
        total = newest.aggregate(input=Sum("input_tokens"), output=Sum("output_tokens"), cost=Sum("cost"))
        return super().changelist_view(request, {**(extra_context or {}), "usage_total": total})

    @display(description=_("session"))
    def shown_session(self, obj: Usage) -> SafeString | str:
        """The conversation that it was for."""
        return link("hub_session", obj.session_id, str(_("show")))

    @display(description=_("turn"))
    def shown_turn(self, obj: Usage) -> SafeString | str:
        """What it was for."""
        return link("hub_turn", obj.turn_id, str(_("trace")))

    @display(description=_("agent"))
    def shown_agent(self, obj: Usage) -> SafeString | str:
        """Who asked."""
        return link("agents_agent", obj.agent_id)

    @display(description=_("time"))
    def when(self, obj: Usage) -> SafeString | str:
        """When it was made."""
        return moment(obj.created_at)

    @display(description=_("kind"))
    def shown_kind(self, obj: Usage) -> str:
        """What it was for."""
        return str(KINDS.get(obj.kind, obj.kind))

    @display(description=_("input tokens"))
    def tokens_in(self, obj: Usage) -> str:
        """With their thousands."""
        return figure(obj.input_tokens)

    @display(description=_("output tokens"))
    def tokens_out(self, obj: Usage) -> str:
        """With their thousands."""
        return figure(obj.output_tokens)

    @display(description=_("cost"))
    def shown_cost(self, obj: Usage) -> str:
        """As many places as it needs."""
        return money(float(obj.cost)) if obj.cost else DASH


class ActionFilter(ChoiceFilter):
    """One kind of change."""

    title = _("action")
    parameter_name = field = "action"
    options = ACTIONS.items()


class AuditAdmin(ReadOnlyAdmin):
    """Who changed what and why; the database lets nobody change it."""

    view_rank = Rank.OWNER
    intro = _("Who changed what, and why. Nobody can change it afterwards.")
    list_display = ("when", "actor", "shown_action", "shown_label", "shown_change", "reason")
    list_filter = (ActionFilter,)
    fields = ("created", "actor", "shown_action", "shown_label", "shown_change", "reason", "subject", "subject_id")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With the changes, which are short."""
        return super().get_queryset(request).defer(None)

    def page_title(self, row: AuditEntry) -> str:
        """What was done."""
        return action_name(row.action)

    @display(description=_("time"))
    def when(self, obj: AuditEntry) -> SafeString | str:
        """When it was done."""
        return moment(obj.created)

    @display(description=_("action"))
    def shown_action(self, obj: AuditEntry) -> str:
        """In words."""
        return action_name(obj.action)

    @display(description=_("name"))
    def shown_label(self, obj: AuditEntry) -> str:
        """Of what; many things together have a name of ours."""
        return gettext(obj.label) if obj.label == "dead letters" else obj.label

    @display(description=_("change"))
    def shown_change(self, obj: AuditEntry) -> SafeString | str:
        """From what to what."""
        return change_of(obj.before, obj.after)


class PlatformAuditAdmin(AuditAdmin):
    """The same of what belongs to no tenant."""

    view_rank = Rank.STAFF
    intro = _("The same of what belongs to no tenant, such as plans.")
    platform = True


site.register(Quota, QuotaAdmin)
site.register(Usage, UsageAdmin)
site.register(AuditEntry, AuditAdmin)
site.register(PlatformAudit, PlatformAuditAdmin)
