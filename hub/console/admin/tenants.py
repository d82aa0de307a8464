"""Tenants and plans: what each may use, changed with a reason, suspended and resumed."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from hub.console.base import ConsoleAdmin, Form, Rank, _, capitalise, site
from hub.console.decorators import action, display
from hub.console.drawing import badge, limit_text, size, small_bar, usage_bar, whole
from hub.console.tenancy import seat
from hub.console.trail import trail
from hub.console.words import METRICS
from hub.templatetags.turns import moment
from tenants.audit import Actor, record
from tenants.context import ops_scope
from tenants.models import AuditEntry, Metric, Plan, PlanQuota, Quota, Tenant
from tenants.plans import change_plan, create_tenant, set_status

AT_A_GLANCE = (Metric.TOKENS_PER_DAY, Metric.SESSIONS, Metric.CONCURRENCY)
ENTRIES = 12
LANGUAGES = (("en", "English"), ("zh-hans", "简体中文"))


def is_staff(request: HttpRequest) -> bool:
    """The platform's own people, wherever they sit."""
    seated = seat(request)
    return seated is not None and seated.rank == Rank.STAFF


def limit_of(row: Quota) -> int:
    """The limit that counts."""
    return row.limit_value if row.override is None else row.override


def quota_bar(row: Quota) -> SafeString:
    """What is used of it."""
    return usage_bar(row.used, limit_of(row), alert_at=row.alert_at, reserved=row.reserved, show=_shown(row.metric))


def amount(row: Quota | PlanQuota, value: int) -> str:
    """A limit of this metric, with its unit."""
    return limit_text(value, _shown(row.metric))


def _shown(metric: str) -> Callable[[int], str]:
    return size if metric == Metric.STORAGE_BYTES else whole


def language_field() -> forms.ChoiceField:
    """The languages that the hub has words in."""
    return forms.ChoiceField(
        label=_("language"),
        choices=LANGUAGES,
        widget=UnfoldAdminSelectWidget,
        help_text=_("Of what the hub itself says to people, such as that a limit is used up."),
    )


class ReasonForm(Form):
    """A form whose changes want a reason, kept in the audit trail."""

    wants_reason: tuple[str, ...] = ()
    reason = forms.CharField(
        label=_("reason"),
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("Kept in the audit trail with your name, the time, and what it was before."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        capitalise(self)

    def clean(self) -> dict[str, Any]:
        """A limit is not moved without a word."""
        cleaned: dict[str, Any] = super().clean() or {}
        moved = set(self.changed_data) & set(self.wants_reason)
        if moved and not self.instance._state.adding and not cleaned.get("reason"):
            self.add_error("reason", _("Please say why."))
        return cleaned


class TenantForm(ReasonForm):
    """A tenant's own fields; another plan wants a reason."""

    wants_reason = ("plan",)

    language = language_field()

    class Meta:
        model = Tenant
        fields = ("name", "plan", "zone", "language")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kept = self.instance.language
        if kept not in dict(LANGUAGES):  # set from the command line
            self.fields["language"].choices = [*LANGUAGES, (kept, kept)]  # type: ignore[attr-defined]


class NewTenantForm(Form):
    """What is chosen once. Other tenants' rows cannot be seen, so the short name is checked as an operator."""

    language = language_field()

    class Meta:
        model = Tenant
        fields = ("name", "slug", "plan", "zone", "language", "suite")
        help_texts = {
            "slug": _("Small letters, digits and dashes; it names the tenant on the command line and never changes."),
            "suite": _("How its content is sealed; it never changes."),
        }

    def clean_slug(self) -> str:
        """Refuse a short name that is taken."""
        slug = str(self.cleaned_data["slug"])
        with ops_scope("is this slug taken"):
            if Tenant.objects.filter(slug=slug).exists():
                raise ValidationError(_("This slug is taken."))
        return slug


class TenantAdmin(ConsoleAdmin):
    """Organisations; each with what it has used."""

    change_rank = Rank.OWNER
    add_rank = Rank.STAFF
    intro = _("Organisations that share this hub, each kept apart from the others.")
    list_display = ("name", "plan", "shown_status", "glance", "since", "enter")
    list_select_related = ("plan",)
    list_defer = ("start",)
    search_fields = ("slug", "name")
    ordering = ("-id",)
    actions_detail = ("suspend_this", "resume_this")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Staff, wherever they sit."""
        return is_staff(request)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001
        """A new tenant's form, or one that asks why."""
        kwargs["form"] = TenantForm if obj is not None else NewTenantForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The limits first: that is what one comes for."""
        if obj is None:
            return ((None, {"fields": ("name", "slug", "plan", "zone", "language", "suite")}),)
        own = ["name", "slug", "shown_status", "plan", "zone", "language", "suite", "vectors", "created_at"]
        if self.has_change_permission(request, obj):
            own.append("reason")
        return (
            (_("Limits"), {"fields": ("standing",)}),
            (_("Settings"), {"fields": own}),
            (_("Audit trail"), {"fields": ("shown_trail",)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What an owner may not change."""
        fixed = ["standing", "created_at", "shown_status", "shown_trail"]
        if obj is not None:
            fixed += ["suite", "slug"]
        return fixed if is_staff(request) else [*fixed, "plan"]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The quotas of a page's tenants in one look."""
        found = super().get_changelist_instance(request)
        found.result_list = list(found.result_list)
        quotas: dict[Any, dict[str, Quota]] = {row.pk: {} for row in found.result_list}
        for quota in Quota.objects.filter(tenant_id__in=list(quotas), metric__in=AT_A_GLANCE):
            quotas[quota.tenant_id][quota.metric] = quota
        for row in found.result_list:
            row.quotas_at_a_glance = quotas[row.pk]
        return found

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:  # noqa: FBT001
        """A new tenant gets its quotas; another plan moves them. Both are in the trail."""
        actor, reason = Actor.of(request.user), form.cleaned_data.get("reason", "")
        if not change:
            made = create_tenant(
                obj.slug, obj.name, plan=obj.plan.slug, zone=obj.zone, suite=obj.suite, language=obj.language
            )
            obj.pk, obj.id = made.pk, made.id
            record(made.id, "tenant.created", actor=actor, subject=obj, after={"plan": obj.plan.slug})
            return
        before = {name: str(form.initial.get(name, "")) for name in form.changed_data if name != "reason"}
        after = {name: str(getattr(obj, name)) for name in before}
        super().save_model(request, obj, form, change)
        if "plan" in before:
            old = Plan.objects.filter(pk=form.initial["plan"]).first()
            before["plan"] = str(old or before["plan"])
            change_plan(obj, obj.plan.slug)
        if before:
            kind = "tenant.plan_changed" if "plan" in before else "tenant.changed"
            record(obj.id, kind, actor=actor, subject=obj, before=before, after=after, reason=reason)

    def has_suspend_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Staff, while the tenant is active."""
        return is_staff(request) and self._status(object_id) == Tenant.Status.ACTIVE

    def has_resume_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Staff, while it is suspended."""
        return is_staff(request) and self._status(object_id) == Tenant.Status.SUSPENDED

    def _status(self, object_id: Any) -> str:
        with ops_scope("is this tenant suspended"):
            return Tenant.objects.filter(pk=object_id).values_list("status", flat=True).first() or ""

    @action(description=_("Suspend"), permissions=["suspend"], url_path="suspend")
    def suspend_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then refuse its messages."""
        return self._set(request, object_id, Tenant.Status.SUSPENDED)

    @action(description=_("Resume"), permissions=["resume"], url_path="resume")
    def resume_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then take its messages again."""
        return self._set(request, object_id, Tenant.Status.ACTIVE)

    def _set(self, request: HttpRequest, object_id: str, status: Tenant.Status) -> HttpResponse:
        with ops_scope("suspend or resume a tenant"):
            tenant = Tenant.objects.select_related("plan").get(pk=object_id)
        suspends, page = status == Tenant.Status.SUSPENDED, reverse("admin:tenants_tenant_change", args=[object_id])
        reason = request.POST.get("reason", "").strip()
        if request.method == "POST" and reason:
            set_status(tenant, status, actor=Actor.of(request.user), reason=reason)
            done = _("%(tenant)s is suspended.") if suspends else _("%(tenant)s is active again.")
            messages.success(request, done % {"tenant": tenant.name})
            return HttpResponseRedirect(page)
        title = _("Suspend %(tenant)s?") if suspends else _("Resume %(tenant)s?")
        context = {
            **self.admin_site.each_context(request),
            "title": title % {"tenant": tenant.name},
            "opts": self.opts,
            "tenant": tenant,
            "suspends": suspends,
            "missing": request.method == "POST",
            "back": page,
        }
        return TemplateResponse(request, "console/suspend.html", context)

    @display(description=_("status"))
    def shown_status(self, obj: Tenant) -> SafeString:
        """The status, coloured."""
        return badge("good" if obj.status == "active" else "bad", obj.get_status_display())

    @display(description=_("since"))
    def since(self, obj: Tenant) -> SafeString | str:
        """When it was made."""
        return moment(obj.created_at)

    @display(description=_("tokens · sessions · turns at once"))
    def glance(self, obj: Any) -> SafeString:
        """Three small bars."""
        rows = [obj.quotas_at_a_glance[metric] for metric in AT_A_GLANCE if metric in obj.quotas_at_a_glance]
        bars = [
            (small_bar(METRICS[Metric(row.metric)], row.used, limit_of(row), alert_at=row.alert_at),) for row in rows
        ]
        return format_html('<span class="glance">{}</span>', format_html_join("", "{}", bars))

    @display(description=_("used"))
    def standing(self, obj: Tenant) -> SafeString:
        """All quotas as bars, each with the way to change it."""
        rows = [
            (
                METRICS[Metric(row.metric)],
                quota_bar(row),
                badge("info", _("its own")) if row.override is not None else "",
                reverse("admin:tenants_quota_change", args=[row.pk]),
                _("Change"),
            )
            for row in Quota.objects.filter(tenant_id=obj.id).order_by("metric")
        ]
        line = '<div class="standing"><span>{}</span><span class="standing-bar">{}{}</span><a href="{}">{}</a></div>'
        return format_html('<div class="standings">{}</div>', format_html_join("", line, rows))

    @display(description=_("last changes"))
    def shown_trail(self, obj: Tenant) -> SafeString | str:
        """What was changed last."""
        return trail(AuditEntry.objects.filter(tenant_id=obj.id).order_by("-id")[:ENTRIES])

    @display(description="")
    def enter(self, obj: Tenant) -> SafeString:
        """A button that makes it the current tenant."""
        return format_html(
            '<button type="submit" class="enter-tenant" form="enter-tenant" name="tenant" value="{}">{}</button>',
            obj.id,
            _("Work here"),
        )


site.register(Tenant, TenantAdmin)
