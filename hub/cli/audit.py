"""Changes that an operator makes on the command line, in the audit trail: in the transaction of the change itself."""

import getpass
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from django.db.models import Model


def who() -> str:
    """Who acts: the account of the operating system that runs the command."""
    try:
        return f"hub ({getpass.getuser()})"
    except (KeyError, OSError):  # a container's user has no name
        return "hub"


def record(
    tenant_id: UUID,
    action: str,
    *,
    subject: "Model | None" = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    label: str = "",
) -> None:
    """Add an entry to the tenant's trail; `before` and `after` never hold texts or secrets."""
    from tenants import audit

    audit.record(tenant_id, action, actor=audit.Actor(who()), subject=subject, before=before, after=after, label=label)
