"""What a fault's run is asked for and what it gives back."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.ledgers import Report

GIVEN_UP = 20.0
"""Seconds after which nobody waits for a takeover or the next accepted message any more: it never came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dose:
    """How much: messages, conversations, messages a second, and how often the fault strikes."""

    messages: int
    conversations: int = 40
    rate: float = 30.0
    faults: int = 1
    timed: bool = False
    """Whether times decide, too: a small dose runs among tests, where they do not."""


@dataclass(slots=True, kw_only=True)
class Result:
    """One fault's run. `figures` are seconds and counts to show; `wrong` is what failed besides the ledgers."""

    name: str
    sent: int = 0
    faults: int = 0
    report: Report = field(default_factory=Report)
    figures: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    @property
    def passed(self) -> bool:
        return self.report.clean and not self.wrong

    def done(self) -> "Result":
        """Note how long it took."""
        self.seconds = time.monotonic() - self._began
        return self

    def need(self, true: object, what: str) -> None:
        """Note what is wrong."""
        if not true:
            self.wrong.append(what)

    def within(self, dose: Dose, limit: float, seconds: Sequence[float], what: str) -> None:
        """Note what took longer than `limit` where times decide, and anywhere what never came."""
        longest = max(seconds, default=0.0)
        self.need(longest < (limit if dose.timed else GIVEN_UP), f"{what} took {longest:.2f} s")

    def told(self) -> str:
        """Why it did not pass, for an assertion."""
        return f"{self.name}: {self.wrong} {self.report.json()}"


def quantile(seconds: Sequence[float], share: float) -> float:
    """The smallest measured value that `share` of all do not exceed; 0 where nothing was measured."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)], 3) if ordered else 0.0


def spread(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and max of measured seconds, and how many there are."""
    if not seconds:
        return {f"{name}_n": 0}
    return {
        f"{name}_p50": round(statistics.median(seconds), 3),
        f"{name}_p95": quantile(seconds, 0.95),
        f"{name}_max": round(max(seconds), 3),
        f"{name}_n": len(seconds),
    }
