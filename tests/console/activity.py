"""Weeks of activity as roll-ups, so that the dashboard has something to draw."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hub.models import BUCKETS, Rollup
from tenants.context import tenant_scope
from tenants.ids import uuid7

STEP_HOURS = (1, 6, 24)


def make_activity(tenant_id: UUID, connections: list[UUID], *, size: int = 40, days: int = 31) -> int:
    """Rows of each grain, with a rhythm of days and weeks; returns how many."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    weights = {ident: 1 / number for number, ident in enumerate(connections, 1)}
    shares = {ident: weight / sum(weights.values()) for ident, weight in weights.items()}
    rows = [
        _row(tenant_id, ident, grain, start, size if ident is None else size * shares[ident])
        for grain, span in zip(STEP_HOURS, (2, 14, days * 2), strict=True)
        for start in _starts(now, grain, span)
        for ident in (None, *connections)
    ]
    with tenant_scope(tenant_id):
        Rollup.objects.bulk_create(rows, batch_size=2000)
    return len(rows)


def _starts(now: datetime, grain: int, days: int) -> list[datetime]:
    last = now.replace(hour=now.hour // grain * grain)
    return [last - timedelta(hours=grain) * n for n in range(days * 24 // grain)]


def _row(tenant_id: UUID, ident: UUID | None, grain: int, start: datetime, size: float) -> Rollup:
    wave = 1.1 + math.sin((start.hour - 9) / 24 * math.tau) if grain < 24 else 1.0
    turns = int(
        size
        * grain
        * wave
        * (0.45 if start.weekday() > 4 else 1.0)
        * (1 + 0.2 * math.sin(start.timestamp() / 86_400 / 5))
    )
    failed = turns // 40 if start.day % 3 == 0 else 0
    counts: dict[str, Any] = {"received": turns + turns // 8, "replies": turns, "turns": turns, "failed": failed}
    counts |= {"sent": turns, "dead": failed // 2, "refused": turns // 90, "input_tokens": turns * 900}
    counts |= {"output_tokens": turns * 210, "cost": Decimal(turns) * Decimal("0.0021")}
    late = 0.5 + 0.4 * math.sin(start.timestamp() / 86_400 / 3)
    shapes = {"first_token": _shape(turns, 8, late), "whole": _shape(turns, 12, late)}
    return Rollup(id=uuid7(), tenant_id=tenant_id, grain=grain, start=start, connection_id=ident, **counts, **shapes)


def _shape(turns: int, centre: int, late: float) -> list[int]:
    """A histogram around a bucket; a share of it is one bucket later."""
    shape = [0] * BUCKETS
    for offset, share in ((-2, 0.1), (-1, 0.25), (0, 0.35), (1, 0.2), (2, 0.08), (3, 0.02)):
        shape[centre + offset] += int(turns * share * (1 - late))
        shape[centre + offset + 1] += int(turns * share * late)
    return shape
