"""The audit trail can be added to and read, by each tenant its own, and changed by nobody."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import ProgrammingError, connection

from tenants.audit import Actor, changed, record
from tenants.context import ops_scope, tenant_scope
from tenants.models import AuditEntry, PlatformAudit, Quota


def test_an_entry_says_who_changed_what_from_what_to_what_and_why(pair: tuple[UUID, UUID]) -> None:
    first, second = pair
    with tenant_scope(first):
        quota = Quota.objects.get(metric="sessions")
    before, after = changed({"override": None, "alert_at": 0.8}, {"override": 9, "alert_at": 0.8})
    made = record(
        first,
        "quota.changed",
        actor=Actor("root", 7),
        subject=quota,
        before={**before, "price": Decimal("1.5")},
        after=after,
        reason="a trial",
    )
    with tenant_scope(first):
        row = AuditEntry.objects.get(id=made)
    assert (row.actor, row.actor_id, row.subject, row.subject_id) == ("root", 7, "quota", quota.id)
    assert (row.before, row.after, row.reason) == ({"override": None, "price": "1.5"}, {"override": 9}, "a trial")
    with tenant_scope(second):
        assert not AuditEntry.objects.filter(id=made).exists()
    with ops_scope("test"):
        assert AuditEntry.objects.filter(id=made).exists()


@pytest.mark.parametrize("platform", [False, True])
def test_nobody_changes_or_removes_an_entry(pair: tuple[UUID, UUID], platform: bool) -> None:
    tenant_id = None if platform else pair[0]
    made = record(tenant_id, "plan.changed", actor=Actor("root", 7))
    model: Any = PlatformAudit if platform else AuditEntry
    with tenant_scope(pair[0]):
        for attempt in ("UPDATE {} SET actor = 'nobody' WHERE id = %s", "DELETE FROM {} WHERE id = %s"):
            statement = attempt.format(model._meta.db_table)
            with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
                cursor.execute(statement, [made])
        assert model.objects.get(id=made).actor == "root"
    connection.close()
