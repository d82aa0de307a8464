"""Which tenants a user of the console belongs to, and where one sits at the moment."""

from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from django.db import transaction

from tenants.context import ops_scope, tenant_scope
from tenants.models import Member, Tenant


class Rank(IntEnum):
    """What a user may do, each including the ones before; `STAFF` are the platform's own people."""

    NONE = 0
    VIEWER = 1
    OPERATOR = 2
    OWNER = 3
    STAFF = 4


RANKS = {Member.Role.VIEWER: Rank.VIEWER, Member.Role.OPERATOR: Rank.OPERATOR, Member.Role.OWNER: Rank.OWNER}


@dataclass(frozen=True, slots=True)
class Seat:
    """Whose tenant a user works in now, and with which rank. Without a tenant: reading all of them, as staff only."""

    user_id: int
    rank: Rank
    tenant_id: UUID | None = None
    tenant_name: str = ""

    @property
    def writable(self) -> bool:
        """Nothing can be changed while all tenants are in view."""
        return self.tenant_id is not None

    def may(self, rank: Rank) -> bool:
        """Whether the user reaches `rank` in a tenant that is chosen."""
        return self.writable and self.rank >= rank


def add_member(tenant: Tenant, user_id: int, role: str) -> Member:
    """Make a user a member, or change the role of one."""
    with tenant_scope(tenant.id), transaction.atomic():
        member, _ = Member.objects.update_or_create(tenant=tenant, user_id=user_id, defaults={"role": role})
        return member  # type: ignore[no-any-return]  # the scoped manager is generic


def memberships(user_id: int) -> list[Member]:
    """All of a user's memberships with their tenants; asked before any tenant is chosen, so as an operator."""
    with ops_scope(f"memberships of user {user_id}"):
        return list(Member.objects.select_related("tenant").filter(user_id=user_id).order_by("id"))


def seat_of(user_id: int, *, staff: bool, wanted: UUID | None) -> Seat | None:
    """The seat for a wanted tenant: a member's falls back to the first membership, staff's to all tenants.

    None for somebody who belongs nowhere.
    """
    if staff:
        with ops_scope(f"tenant chosen by user {user_id}"):
            tenant = Tenant.objects.filter(id=wanted).only("id", "name").first() if wanted else None
        return Seat(user_id, Rank.STAFF, tenant.id if tenant else None, tenant.name if tenant else "")
    found = memberships(user_id)
    chosen = next((member for member in found if member.tenant_id == wanted), found[0] if found else None)
    if chosen is None:
        return None
    return Seat(user_id, RANKS[Member.Role(chosen.role)], chosen.tenant_id, chosen.tenant.name)
