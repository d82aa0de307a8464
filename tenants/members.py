"""Which tenants a user of the console belongs to."""

from django.db import transaction

from tenants.context import ops_scope, tenant_scope
from tenants.models import Member, Tenant


def add_member(tenant: Tenant, user_id: int, role: str) -> Member:
    """Make a user a member, or change the role of one."""
    with tenant_scope(tenant.id), transaction.atomic():
        member, _ = Member.objects.update_or_create(tenant=tenant, user_id=user_id, defaults={"role": role})
        return member  # type: ignore[no-any-return]  # the scoped manager is generic


def memberships(user_id: int) -> list[Member]:
    """All of a user's memberships with their tenants; asked before any tenant is chosen, so as an operator."""
    with ops_scope(f"memberships of user {user_id}"):
        return list(Member.objects.select_related("tenant").filter(user_id=user_id).order_by("id"))
