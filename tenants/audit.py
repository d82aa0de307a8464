"""The audit trail: who changed what, when, from what to what, and why. Entries can be added and read, never changed.

Call `record` in the transaction of the change it is about, so that neither exists without the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from tenants.context import tenant_scope
from tenants.ids import uuid7
from tenants.models import AuditEntry, PlatformAudit

_JSON = DjangoJSONEncoder()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acted: an account's name as it is now and its id, or the name of what acted by itself."""

    name: str
    user_id: int | None = None

    @classmethod
    def of(cls, user: Any) -> "Actor":
        """The account of a request."""
        return cls(name=str(user.get_username()), user_id=user.pk)


def record(
    tenant_id: UUID | None,
    action: str,
    *,
    actor: Actor,
    subject: Model | None = None,
    label: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
) -> UUID:
    """Add an entry and return its id; without a tenant it belongs to the platform.

    `action` is `<noun>.<verb in the past>` (`quota.changed`, `delivery.replayed`). `before` and `after` hold the
    changed fields only, plain values, never message text or secrets; times, ids and decimals are made text. `subject`
    is the changed row. `label` is its name unless given. Works inside any scope of the console.
    """
    columns: dict[str, Any] = {
        "id": uuid7(),
        "actor": actor.name[:150],
        "actor_id": actor.user_id,
        "action": action,
        "subject": subject._meta.db_table if subject is not None else "",
        "subject_id": subject.pk if subject is not None and isinstance(subject.pk, UUID) else None,
        "label": (label or (str(subject) if subject is not None else ""))[:200],
        "before": _plain(before),
        "after": _plain(after),
        "reason": reason[:500],
    }
    if tenant_id is None:
        return UUID(str(PlatformAudit._default_manager.create(**columns).pk))
    with tenant_scope(tenant_id):
        return UUID(str(AuditEntry.objects.create(tenant_id=tenant_id, **columns).pk))


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Only what differs of two states of the same row."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}


def _plain(values: Mapping[str, Any] | None) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(_JSON.encode(dict(values or {})))
    return found
