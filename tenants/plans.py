"""Tenants begin with a plan and may change it; quotas follow, overrides and counts stay."""

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from tenants.audit import Actor, changed, record
from tenants.context import tenant_scope
from tenants.errors import UnknownPlan
from tenants.ids import uuid7
from tenants.models import Plan, PlanQuota, Quota, Tenant


def create_tenant(
    slug: str,
    name: str,
    *,
    plan: str = "starter",
    zone: str = "UTC",
    suite: str = Tenant.Suite.AES256GCM,
    language: str = "en",
) -> Tenant:
    """Create a tenant with a quota row per metric. Raises UnknownPlan, ValidationError (also for a taken slug)."""
    chosen = _plan(plan)
    tenant = Tenant(id=uuid7(), slug=slug, name=name, plan=chosen, zone=zone, suite=suite, language=language)
    with tenant_scope(tenant.id), transaction.atomic():
        tenant.full_clean(exclude=["plan"], validate_unique=False)
        _insert(tenant)
        Quota.objects.bulk_create(
            Quota(
                tenant=tenant,
                metric=quota.metric,
                limit_value=quota.limit_value,
                period=quota.period,
                alert_at=quota.alert_at,
            )
            for quota in chosen.quotas.all()
        )
    return tenant


def change_plan(tenant: Tenant, plan: str) -> None:
    """Move a tenant to another plan at once. A limit below what is used refuses new use and deletes nothing."""
    chosen = _plan(plan)
    with tenant_scope(tenant.id), transaction.atomic():
        Tenant.objects.filter(id=tenant.id).update(plan=chosen)
        _set_limits(list(chosen.quotas.all()))
    tenant.plan = chosen


def apply_plan(tenant: Tenant, *, actor: Actor) -> bool:
    """Give a tenant the limits that its plan has now, with an entry in its audit trail; False where it has them.

    Limits of its own and counts stay.
    """
    wanted = list(tenant.plan.quotas.all())
    with tenant_scope(tenant.id), transaction.atomic():
        before = dict(Quota.objects.select_for_update().values_list("metric", "limit_value"))
        moved = _set_limits(wanted)
        if not moved:
            return False
        old, new = changed(before, {one.metric: one.limit_value for one in wanted})
        record(tenant.id, "tenant.plan_applied", actor=actor, subject=tenant, before=old, after=new)
    return True


def _set_limits(wanted: Iterable[PlanQuota]) -> int:
    """Move the quotas of the tenant in scope; how many were not so before."""
    moved = 0
    for one in wanted:
        values = {"limit_value": one.limit_value, "period": one.period, "alert_at": one.alert_at}
        moved += Quota.objects.filter(metric=one.metric).exclude(**values).update(**values)
    return moved


def set_status(tenant: Tenant, status: str, *, actor: Actor, reason: str = "") -> bool:
    """Suspend or resume a tenant, with an entry in its audit trail; False where it already is so.

    A suspended tenant's messages are refused politely and its API keys with 403; turns that were accepted are finished.
    Running processes follow within five seconds.
    """
    with tenant_scope(tenant.id), transaction.atomic():
        before = Tenant.objects.select_for_update().values_list("status", flat=True).get(id=tenant.id)
        tenant.status = Tenant.Status(status)
        if before == status:
            return False
        tenant.save(update_fields=["status"])
        action = "tenant.suspended" if status == Tenant.Status.SUSPENDED else "tenant.resumed"
        record(
            tenant.id,
            action,
            actor=actor,
            subject=tenant,
            before={"status": before},
            after={"status": status},
            reason=reason,
        )
    return True


def _plan(slug: str) -> Plan:
    plan = Plan.objects.filter(slug=slug).first()
    if plan is None:
        raise UnknownPlan(slug, list(Plan.objects.order_by("id").values_list("slug", flat=True)))
    return plan


def _insert(tenant: Tenant) -> None:
    # Other tenants' slugs are invisible here, so only the insert itself can tell whether one is taken.
    taken = (
        Tenant.objects.bulk_create([tenant], ignore_conflicts=True) and not Tenant.objects.filter(id=tenant.id).exists()
    )
    if taken:
        taken_already = ValidationError(_("the slug %(slug)r is taken"), params={"slug": tenant.slug})
        raise ValidationError({"slug": taken_already})
