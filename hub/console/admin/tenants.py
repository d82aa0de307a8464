"""Tenants, plans, quotas with usage, and what model calls cost."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Sum
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import TabularInline

from hub.console.base import ChoiceFilter, ConsoleAdmin, Form, Rank, ReadOnlyAdmin, _, site
from hub.console.decorators import display
from hub.console.drawing import badge, usage_bar
from hub.console.tenancy import seat
from hub.console.words import METRICS
from tenants.models import Metric, Plan, PlanQuota, Quota, Tenant, Usage
from tenants.plans import change_plan, create_tenant


class PlanQuotaInline(TabularInline):  # type: ignore[misc]
    """A plan's limits."""

    model = PlanQuota
    extra = 0
    fields = ("metric", "limit_value", "period", "alert_at")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the plan."""
        return _is_staff(request)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


class PlanAdmin(ConsoleAdmin):
    """What classes of tenants may use."""

    view_rank = add_rank = change_rank = Rank.STAFF
    platform = True
    list_display = ("name", "slug", "limits")
    list_prefetch_related = ("quotas",)
    inlines = (PlanQuotaInline,)
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With the limits that the list shows."""
        return super().get_queryset(request).prefetch_related("quotas")

    @display(description=_("limits"))
    def limits(self, obj: Plan) -> str:
        """The limits in one line."""
        texts = (f"{METRICS[Metric(row.metric)]} {_limit(row.limit_value)}" for row in obj.quotas.all())
        return " · ".join(texts)


class TenantAdmin(ConsoleAdmin):
    """Organisations; each with what it has used."""

    change_rank = Rank.OWNER
    add_rank = Rank.STAFF
    list_display = ("name", "slug", "plan", "shown_status", "created_at", "enter")
    list_select_related = ("plan",)
    search_fields = ("slug", "name")
    ordering = ("-id",)
    readonly_fields = ("standing", "created_at")
    list_before_template = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Staff, wherever they sit."""
        return _is_staff(request)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The plan and the status are the platform's; the suite is chosen once."""
        if obj is None:
            return ((None, {"fields": ("name", "slug", "plan", "zone", "language", "suite")}),)
        return (
            (
                None,
                {"fields": ("name", "slug", "plan", "status", "zone", "language", "suite", "vectors", "created_at")},
            ),
            (_("Used"), {"fields": ("standing",)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What an owner may not change."""
        fixed = ["standing", "created_at"]
        if obj is not None:
            fixed += ["suite", "slug"]
        return fixed if _is_staff(request) else [*fixed, "plan", "status"]

    def save_model(self, request: HttpRequest, obj: Tenant, form: Form, change: bool) -> None:  # noqa: FBT001
        """A new tenant gets its quotas; another plan moves them."""
        if not change:
            made = create_tenant(
                obj.slug, obj.name, plan=obj.plan.slug, zone=obj.zone, suite=obj.suite, language=obj.language
            )
            obj.pk, obj.id = made.pk, made.id
            return
        super().save_model(request, obj, form, change)
        if "plan" in form.changed_data:
            change_plan(obj, obj.plan.slug)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001
        """With a check of the slug, which other tenants' rows cannot show here."""
        form = super().get_form(request, obj, change, **kwargs)
        return form if change else type("NewTenantForm", (_NewTenantMixin, form), {})

    @display(description=_("status"))
    def shown_status(self, obj: Tenant) -> SafeString:
        """The status, coloured."""
        return badge(
            "good" if obj.status == "active" else "bad", _("active") if obj.status == "active" else _("suspended")
        )

    @display(description=_("used"))
    def standing(self, obj: Tenant) -> SafeString:
        """All quotas as bars."""
        rows = Quota.objects.filter(tenant_id=obj.id).order_by("metric")
        bars = (
            format_html('<div class="standing"><span>{}</span>{}</div>', METRICS[Metric(row.metric)], _bar(row))
            for row in rows
        )
        return format_html("{}", SafeString("".join(bars)))

    @display(description="")
    def enter(self, obj: Tenant) -> SafeString:
        """A button that makes it the current tenant."""
        return format_html(
            '<button type="submit" class="enter-tenant" form="enter-tenant" name="tenant" value="{}">{}</button>',
            obj.id,
            _("Work here"),
        )


class _NewTenantMixin:
    def clean(self) -> Any:
        from tenants.context import ops_scope

        cleaned = super().clean()  # type: ignore[misc]
        slug = cleaned.get("slug") if cleaned else None
        with ops_scope("is this slug taken"):
            if slug and Tenant.objects.filter(slug=slug).exists():
                raise ValidationError({"slug": _("This slug is taken.")})
        return cleaned


class MetricFilter(ChoiceFilter):
    """One metric."""

    title = _("metric")
    parameter_name = field = "metric"
    options = METRICS.items()


class QuotaAdmin(ConsoleAdmin):
    """Limits with what is used of them; staff may let a tenant differ from its plan."""

    change_rank = Rank.STAFF
    list_display = ("shown_metric", "bar", "shown_limit", "override", "reserved", "period", "alerted_at")
    list_filter = (MetricFilter,)
    fields = ("shown_metric", "bar", "limit_value", "override", "alert_at", "period", "period_start", "reserved")
    readonly_fields = ("shown_metric", "bar", "limit_value", "period", "period_start", "reserved")
    ordering = ("metric",)

    @display(description=_("metric"))
    def shown_metric(self, obj: Quota) -> Any:
        """The metric in words."""
        return METRICS[Metric(obj.metric)]

    @display(description=_("used / limit"))
    def bar(self, obj: Quota) -> SafeString:
        """The bar."""
        return _bar(obj)

    @display(description=_("plan's limit"))
    def shown_limit(self, obj: Quota) -> str:
        """The limit of the plan."""
        return _limit(obj.limit_value)


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


def _is_staff(request: HttpRequest) -> bool:
    seated = seat(request)
    return seated is not None and seated.rank == Rank.STAFF


def _bar(row: Quota) -> SafeString:
    limit = row.limit_value if row.override is None else row.override
    return usage_bar(row.used, limit, alert_at=row.alert_at, reserved=row.reserved)


def _limit(value: int) -> str:
    return "∞" if value == -1 else f"{value:,}"


site.register(Plan, PlanAdmin)
site.register(Tenant, TenantAdmin)
site.register(Quota, QuotaAdmin)
site.register(Usage, UsageAdmin)
