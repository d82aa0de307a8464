"""Limits of plans and tenants as commands show them."""

from typing import Any
from uuid import UUID

from hub.cli.terminal import NO_LIMIT
from hub.cli.words import Phrase, Words

UNLIMITED = -1
HEADS = (Phrase("LIMIT"), Phrase("USED"), Phrase("OF"), Phrase("SHARE"), Phrase("EXCEPTION"))
"""Above `limit_row`."""


def limit(value: int) -> Words:
    """A limit for people."""
    return NO_LIMIT if value == UNLIMITED else f"{value:,}"


def standings(tenant_id: UUID) -> list[dict[str, Any]]:
    """Each limit of a tenant against its use, the exception beside the plan's; Django is set up.

    A day that is over counts as unused, whether or not the upkeep has begun the new one yet.
    """
    from django.db import connection

    from tenants.context import tenant_scope
    from tenants.quotas import LIMIT, USED

    query = (
        f"SELECT q.metric, {LIMIT}, {USED}, q.reserved, q.limit_value, q.override, q.period "  # noqa: S608 - our own words
        "FROM quota q JOIN tenant t ON t.id = q.tenant_id WHERE q.tenant_id = %s ORDER BY q.metric"
    )
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute(query, (tenant_id,))
        rows = cursor.fetchall()
    names = ("metric", "limit", "used", "reserved", "plan_limit", "override", "period")
    return [dict(zip(names, row, strict=True)) for row in rows]


def limit_row(one: dict[str, Any]) -> tuple[object, ...]:
    """A standing as a line of a table."""
    share = "-" if one["limit"] <= 0 else f"{100 * (one['used'] + one['reserved']) / one['limit']:.0f} %"
    exception = "" if one["override"] is None else Phrase("plan: {limit}", limit=limit(one["plan_limit"]))
    return one["metric"], f"{one['used']:,}", limit(one["limit"]), share, exception
