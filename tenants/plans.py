"""Tenants begin with a plan and may change it; quotas follow, overrides and counts stay."""

from django.core.exceptions import ValidationError
from django.db import transaction

from tenants.context import tenant_scope
from tenants.errors import UnknownPlan
from tenants.ids import uuid7
from tenants.models import Plan, Quota, Tenant


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
        for quota in chosen.quotas.all():
            Quota.objects.filter(metric=quota.metric).update(
                limit_value=quota.limit_value, period=quota.period, alert_at=quota.alert_at
            )
    tenant.plan = chosen


def _plan(slug: str) -> Plan:
    plan = Plan.objects.filter(slug=slug).first()
    if plan is None:
        known = ", ".join(Plan.objects.order_by("id").values_list("slug", flat=True))
        raise UnknownPlan(f"there is no plan {slug!r}; there are: {known}")
    return plan


def _insert(tenant: Tenant) -> None:
    # Other tenants' slugs are invisible here, so only the insert itself can tell whether one is taken.
    taken = (
        Tenant.objects.bulk_create([tenant], ignore_conflicts=True) and not Tenant.objects.filter(id=tenant.id).exists()
    )
    if taken:
        raise ValidationError({"slug": f"the slug {tenant.slug!r} is taken"})
