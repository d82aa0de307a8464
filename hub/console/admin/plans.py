"""Plans: what classes of tenants may use, and bringing a changed plan to the tenants that have it."""

import time
from collections.abc import Sequence
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import ngettext
from unfold.admin import TabularInline

from hub.console.admin.tenants import amount, is_staff
from hub.console.base import ConsoleAdmin, Form, Rank, _, site
from hub.console.confirming import Question, ask, confirmed
from hub.console.decorators import action, display
from hub.console.words import METRICS
from tenants.audit import Actor, changed, record
from tenants.context import ops_scope
from tenants.models import Metric, Plan, PlanQuota, Tenant
from tenants.plans import apply_plan

MOST_TENANTS: Final = 5_000
APPLY_SECONDS: Final = 20.0
"""What one press may take; who has the limits already costs next to nothing at the next."""


class PlanQuotaInline(TabularInline):  # type: ignore[misc]
    """A plan's limits."""

    model = PlanQuota
    extra = 0
    hide_title = True
    fields = ("metric", "limit_value", "period", "alert_at")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the plan."""
        return is_staff(request)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


class PlanAdmin(ConsoleAdmin):
    """What classes of tenants may use."""

    view_rank = add_rank = change_rank = Rank.STAFF
    platform = True
    intro = _("What classes of tenants may use. A change holds for new tenants until it is applied to the old ones.")
    list_display = ("name", "slug", "limits")
    list_prefetch_related = ("quotas",)
    inlines = (PlanQuotaInline,)
    actions_detail = ("apply_this",)
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With the limits that the list shows."""
        return super().get_queryset(request).prefetch_related("quotas")

    def save_related(self, request: HttpRequest, form: Form, formsets: Any, change: bool) -> None:  # noqa: FBT001
        """Write down what the limits were and are; tenants keep theirs until they are moved to the plan again."""
        before = _limits_of(form.instance)
        super().save_related(request, form, formsets, change)
        old, new = changed(before, _limits_of(form.instance))
        old |= {name: str(form.initial.get(name, "")) for name in form.changed_data}
        new |= {name: str(getattr(form.instance, name)) for name in form.changed_data}
        if new or not change:
            kind = "plan.changed" if change else "plan.created"
            record(None, kind, actor=Actor.of(request.user), subject=form.instance, before=old, after=new)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """The model says this one in English alone."""
        if db_field.name == "requests_per_minute":
            kwargs |= {"label": _("requests per minute"), "help_text": _("API requests per key; -1 means no limit.")}
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_apply_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Staff."""
        return is_staff(request)

    @action(description=_("Apply to its tenants"), permissions=["apply"], url_path="apply")
    def apply_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then give the plan's tenants the limits that it has now."""
        plan = get_object_or_404(Plan, pk=object_id)
        page = reverse("admin:tenants_plan_change", args=[plan.pk])
        with ops_scope("tenants of a plan"):
            tenants = list(Tenant.objects.filter(plan=plan).select_related("plan").order_by("slug")[: MOST_TENANTS + 1])
        if not confirmed(request):
            return ask(request, self, _question(plan, tenants, page))
        actor, until = Actor.of(request.user), time.monotonic() + APPLY_SECONDS
        done = []
        for tenant in tenants:
            if time.monotonic() > until:
                messages.warning(request, _("Not all tenants were reached in time; press the button again."))
                break
            done.append(apply_plan(tenant, actor=actor))
        record(None, "plan.applied", actor=actor, subject=plan, after={"tenants": sum(done)})
        words = ngettext("%(count)d tenant has got new limits.", "%(count)d tenants have got new limits.", sum(done))
        messages.success(request, words % {"count": sum(done)})
        return HttpResponseRedirect(page)

    @display(description=_("limits"))
    def limits(self, obj: Plan) -> str:
        """The limits in one line."""
        return " · ".join(f"{METRICS[Metric(row.metric)]} {amount(row, row.limit_value)}" for row in obj.quotas.all())


def _question(plan: Plan, tenants: Sequence[Tenant], back: str) -> Question:
    return Question(
        title=_("Apply %(plan)s to its tenants?") % {"plan": plan.name},
        number=f"{len(tenants):,}" if len(tenants) <= MOST_TENANTS else f"{MOST_TENANTS:,}+",
        words=_("These tenants get the limits that the plan has now. Limits of their own and what is used stay."),
        warning=_("Who has used more than a new limit is refused more until less is used; nothing is deleted."),
        items=[f"{tenant.name} ({tenant.slug})" for tenant in tenants[:20]],
        go=_("Apply"),
        back=back,
        nothing=not tenants,
    )


def _limits_of(plan: Plan) -> dict[str, int]:
    return dict(PlanQuota.objects.filter(plan=plan).values_list("metric", "limit_value"))


site.register(Plan, PlanAdmin)
