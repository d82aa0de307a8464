"""The table: each figure with its goal, whether it is met, and under what foreign load it was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from tests.benchmarks.processes import Cost


@dataclass(frozen=True, slots=True)
class Figure:
    """One line. `goal` None: shown for what it is."""

    name: str
    what: str
    value: float
    unit: str
    goal: float | None = None
    sense: Literal["at most", "at least"] = "at most"
    note: str = ""

    @property
    def met(self) -> str:
        """Whether the goal is met."""
        if self.goal is None:
            return ""
        good = self.value <= self.goal if self.sense == "at most" else self.value >= self.goal
        return "met" if good else "missed"


@dataclass(frozen=True, slots=True)
class Window:
    """What one window gave: the generator's figures and the cost."""

    figures: dict[str, Any]
    cost: Cost

    @property
    def rate(self) -> float:
        """Operations per second."""
        return float(self.figures["count"] / self.figures["seconds"])

    @property
    def cpu(self) -> float:
        """Seconds of CPU per operation."""
        return self.cost.cpu / float(self.figures["count"])

    @property
    def shares(self) -> str:
        """CPU per operation by process, in microseconds."""
        parts = sorted(self.cost.groups.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {value / self.figures['count'] * 1e6:.0f}" for name, value in parts if value > 0)


CALM = 5.0
"""Percent of a processor that others may use more than in the calmest window."""


def quiet(windows: Sequence[Window]) -> Window:
    """The middle one, by processor time, of the windows with little foreign load: what others do is not our figure."""
    least = min(window.cost.foreign_percent for window in windows)
    calm = sorted((one for one in windows if one.cost.foreign_percent <= least + CALM), key=lambda one: one.cpu)
    return calm[len(calm) // 2]


def middle(windows: Sequence[Window]) -> float:
    """Median rate."""
    return float(median(window.rate for window in windows))


def table(figures: Sequence[Figure]) -> str:
    """As Markdown."""
    lines = ["| # | what | today | goal | | conditions |", "|---|---|---|---|---|---|"]
    for item in figures:
        sign = {"at most": "<=", "at least": ">="}[item.sense]
        goal = "" if item.goal is None else f"{sign} {_number(item.goal)} {item.unit}".strip()
        value = f"{_number(item.value)} {item.unit}".strip()
        lines.append(f"| {item.name} | {item.what} | {value} | {goal} | {item.met} | {item.note} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
