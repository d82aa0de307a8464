from pathlib import Path

import pytest

from agents.pool import WarmStates
from agents.types import SessionState
from hub.pipeline.pressure import Pressure, memory_percent
from memory.types import Buffer
from tenants.ids import uuid7


def _warm(count: int) -> WarmStates:
    warm = WarmStates()
    for _ in range(count):
        warm.put(uuid7(), SessionState(version=1, buffer=Buffer()))
    return warm


def test_nothing_happens_below_the_limit() -> None:
    pressure = Pressure(_warm(8), limit=70.0, measure=lambda: 69.0)
    pressure.look()
    assert len(pressure._warm) == 8
    assert not pressure.full


def test_past_the_limit_the_warm_sessions_shrink_first() -> None:
    pressure = Pressure(_warm(8), limit=70.0, measure=lambda: 75.0)
    pressure.look()
    assert len(pressure._warm) == 6
    assert not pressure.full


def test_far_past_the_limit_admission_closes_and_opens_again() -> None:
    now = [85.0]
    pressure = Pressure(_warm(8), limit=70.0, measure=lambda: now[0])
    pressure.look()
    assert pressure.full
    now[0] = 60.0
    pressure.look()
    assert not pressure.full


@pytest.mark.parametrize(("limit", "used", "expected"), [("1000", "250", 25.0), ("1000", "1000", 100.0)])
def test_a_container_is_measured_by_its_own_limit(tmp_path: Path, limit: str, used: str, expected: float) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    assert memory_percent(tmp_path) == expected


def test_without_a_limit_the_machine_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("250\n")
    assert 0.0 < memory_percent(tmp_path) <= 100.0
