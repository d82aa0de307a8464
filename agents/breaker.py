"""A circuit breaker per model endpoint and key: a provider that is down is left alone, then tried by one call."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from agents.errors import FaultKind
from agents.types import ModelRoute

COUNTED: frozenset[FaultKind] = frozenset({"overloaded", "timeout", "broken_stream", "unavailable", "auth"})
"""Faults that say something about the provider; the others are about the request."""

CircuitKey = tuple[str, str, str]


def circuit_key(route: ModelRoute) -> CircuitKey:
    """What shares a fate: base URL, model, key (hashed, since this is shown to operators)."""
    return (route.base_url or route.provider, route.model, hashlib.sha256(route.api_key.encode()).hexdigest()[:12])


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until: float = 0.0
    opened: int = 0
    probing: bool = False


class Breakers:
    """All circuits of this process. Times are seconds of the given monotonic clock."""

    def __init__(
        self,
        *,
        threshold: int = 5,
        rest: float = 5.0,
        longest: float = 60.0,
        most: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold, self._rest, self._longest, self._most = threshold, rest, longest, most
        self._clock = clock
        self._circuits: OrderedDict[CircuitKey, _Circuit] = OrderedDict()

    def admit(self, key: CircuitKey) -> bool:
        """Whether a call may go out now. In the half-open state one caller gets True: it must report its outcome."""
        circuit = self._circuits.get(key)
        if circuit is None or not circuit.open_until:
            return True
        if self._clock() < circuit.open_until or circuit.probing:
            return False
        circuit.probing = True
        return True

    def succeeded(self, key: CircuitKey) -> None:
        """The call worked: the circuit closes."""
        self._circuits.pop(key, None)

    def failed(self, key: CircuitKey, kind: FaultKind) -> None:
        """The call failed. Faults of the request free a probe without judging the provider.

        Calls that were under way when the circuit opened tell nothing new: many that fail at once open it once, for
        its shortest rest.
        """
        if kind not in COUNTED:
            self.released(key)
            return
        circuit = self._circuit(key)
        if circuit.open_until and not circuit.probing:
            return
        circuit.failures += 1
        if circuit.probing or circuit.failures >= self._threshold:
            circuit.open_until = self._clock() + min(self._longest, self._rest * 2**circuit.opened)
            circuit.opened = min(circuit.opened + 1, 10)
        circuit.probing = False

    def released(self, key: CircuitKey) -> None:
        """The call was given up without an outcome (cancelled): another may probe."""
        circuit = self._circuits.get(key)
        if circuit is not None:
            circuit.probing = False

    def rest_until(self, key: CircuitKey, seconds: float) -> None:
        """The provider asked to be left alone for longer than a turn can wait."""
        self._circuit(key).open_until = self._clock() + min(seconds, self._longest)

    def states(self) -> Mapping[CircuitKey, Literal["closed", "open", "half_open"]]:
        """Circuits with failures, for metrics and the admin."""
        now = self._clock()
        return {
            key: "closed" if not c.open_until else ("open" if now < c.open_until else "half_open")
            for key, c in self._circuits.items()
        }

    def _circuit(self, key: CircuitKey) -> _Circuit:
        circuit = self._circuits.setdefault(key, _Circuit())
        self._circuits.move_to_end(key)
        if len(self._circuits) > self._most:
            self._circuits.popitem(last=False)
        return circuit
