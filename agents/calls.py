"""The policy of model calls: which route, how often again, when to give up, and what a watcher sees meanwhile."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from agents.breaker import Breakers, circuit_key
from agents.errors import NoRouteAnswered, ProviderError
from agents.providers.base import ChatRequest, Completion, Provider
from agents.tokens import estimate
from agents.types import Emit, ModelRoute, Restarted, TextDelta, Usage

_log = logging.getLogger(__name__)

OFFLINE_ROUTE = ModelRoute(provider="offline", model="offline")
_AGAIN = frozenset({"rate_limited", "overloaded", "timeout", "broken_stream", "unavailable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """Bounds, in seconds. With a fall-back behind it a route is asked fewer times: the chain is the better retry."""

    retries: int = 3
    retries_before_fallback: int = 1
    timeout_retries: int = 1
    backoff: float = 0.25
    longest_backoff: float = 4.0
    longest_retry_after: float = 10.0
    total: float = 120.0


@dataclass(slots=True)
class Gate:
    """What a watcher has seen. Until the first delta a provider can be changed without anybody noticing."""

    emit: Emit
    text: list[str] = field(default_factory=list)
    dirty: bool = False
    began: float = field(default_factory=perf_counter)
    first: float = 0.0

    def delta(self, text: str) -> None:
        """Pass a piece of text on."""
        if not self.first:
            self.first = perf_counter()
        self.dirty = True
        self.text.append(text)
        self.emit(TextDelta(text))

    def void(self) -> str:
        """The attempt failed: take back what was shown; returns it, because it was paid for."""
        wasted = "".join(self.text)
        self.text.clear()
        if self.dirty:
            self.dirty = False
            self.emit(Restarted())
        return wasted

    def timed(self, usage: Usage, fault: str = "") -> Usage:
        """The call's line of the ledger with its times."""
        first = (self.first - self.began) * 1000 if self.first else None
        lasted = (perf_counter() - self.began) * 1000
        return replace(usage, began=self.began, first_ms=first, lasted_ms=lasted, fault=fault)


@dataclass(slots=True)
class Answered:
    """A completion and where it came from."""

    completion: Completion
    route: ModelRoute


class ModelCalls:
    """Model calls with retries, fall-back and breakers; one per process."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        breakers: Breakers | None = None,
        policy: CallPolicy | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._providers = providers
        self.breakers = breakers or Breakers()
        self._policy = policy or CallPolicy()
        self._chance = chance
        self.outcomes: Counter[str] = Counter()
        """Attempts since the start: `ok`, or the kind of the fault. What a person stopped is not counted."""

    async def chat(
        self, routes: Sequence[ModelRoute], request: ChatRequest, emit: Emit, usage: list[Usage]
    ) -> Answered:
        """Ask the routes in order until one answers. Books every attempt into `usage`, failed ones as `retry`.

        Raises `NoRouteAnswered` when all failed or the time was up; what was emitted is then taken back (`Restarted`).
        """
        chain = routes or (OFFLINE_ROUTE,)
        faults: list[tuple[str, ProviderError]] = []
        try:
            async with asyncio.timeout(self._policy.total):
                for index, route in enumerate(chain):
                    last = index == len(chain) - 1
                    completion = await self._route(route, request, emit, usage, faults, last=last)
                    if completion is not None:
                        return Answered(completion, route)
        except TimeoutError:
            faults.append((chain[-1].model, ProviderError("timeout", "the call's total time is up")))
        raise NoRouteAnswered(faults)

    async def _route(
        self,
        route: ModelRoute,
        request: ChatRequest,
        emit: Emit,
        usage: list[Usage],
        faults: list[tuple[str, ProviderError]],
        *,
        last: bool,
    ) -> Completion | None:
        provider = self._providers.get(route.provider)
        if provider is None:
            faults.append((route.model, ProviderError("bad_request", f"no provider named {route.provider!r}")))
            return None
        key, tries = circuit_key(route), 0
        while self.breakers.admit(key):
            try:
                completion = await self._attempt(provider, route, request, emit, usage)
            except ProviderError as fault:
                self.outcomes[fault.kind] += 1
                faults.append((route.model, fault))
                wait = self._judge(route, fault, tries, last=last)
                if wait is None:
                    return None
                tries += 1
                await asyncio.sleep(wait)
            except BaseException:  # cancelled too: a probe that never ends would keep the breaker shut
                self.breakers.released(key)
                raise
            else:
                self.outcomes["ok"] += 1
                self.breakers.succeeded(key)
                return completion
        if not tries:
            faults.append((route.model, ProviderError("unavailable", "the circuit is open")))
        return None

    async def _attempt(
        self, provider: Provider, route: ModelRoute, request: ChatRequest, emit: Emit, usage: list[Usage]
    ) -> Completion:
        gate = Gate(emit)
        try:
            completion = await provider.chat(route, request, gate.delta)
        except ProviderError as fault:
            usage.append(gate.timed(_wasted(route, request, gate.void(), fault), fault.kind))
            raise
        except BaseException:
            # Cancelled: the person stopped the turn or the hub goes down. The tokens so far are booked all the same.
            usage.append(gate.timed(_wasted(route, request, "".join(gate.text), None), "cancelled"))
            raise
        if completion.finish == "content" and not completion.text:
            usage.append(gate.timed(booked("retry", route, completion), "content"))
            raise ProviderError("content", "the provider's filter refused the answer")
        usage.append(gate.timed(booked("reply", route, completion)))
        return completion

    def _judge(self, route: ModelRoute, fault: ProviderError, tries: int, *, last: bool) -> float | None:
        """Book a fault with the breaker; seconds until the next try of this route, or None to leave it."""
        key = circuit_key(route)
        self.breakers.failed(key, fault.kind)
        _log.warning("model_call_failed", extra={"model": route.model, "kind": fault.kind, "status": fault.status})
        asked = fault.retry_after or 0
        if asked > self._policy.longest_retry_after:
            self.breakers.rest_until(key, asked)
        return self._wait(fault, tries, last=last)

    def _wait(self, fault: ProviderError, tries: int, *, last: bool) -> float | None:
        """Seconds until the next try of the same route, or None to leave it."""
        policy = self._policy
        allowed = policy.retries if last else min(policy.retries, policy.retries_before_fallback)
        if fault.kind == "timeout":
            allowed = min(allowed, policy.timeout_retries if last else 0)
        if fault.kind not in _AGAIN or tries >= allowed:
            return None
        if fault.retry_after is not None:
            return fault.retry_after if fault.retry_after <= policy.longest_retry_after else None
        return min(policy.longest_backoff, policy.backoff * 2.0**tries) * (0.5 + self._chance() / 2)


def booked(kind: str, route: ModelRoute, completion: Completion) -> Usage:
    """A completion as a line of the ledger, priced by its route."""
    return Usage(
        kind="retry" if kind == "retry" else "reply",
        provider=route.provider,
        model=route.model,
        input_tokens=completion.input_tokens,
        output_tokens=completion.output_tokens,
        cached_tokens=completion.cached_tokens,
        cost=_cost(route, completion.input_tokens, completion.output_tokens, completion.cached_tokens),
        estimated=completion.estimated,
    )


def _wasted(route: ModelRoute, request: ChatRequest, text: str, fault: ProviderError | None) -> Usage:
    """What a failed attempt cost: a refusal (an HTTP status) nothing, a broken answer its input and its text."""
    refused = fault is not None and bool(fault.status)
    unreached = fault is not None and fault.kind == "unavailable" and not text
    asked = 0 if refused or unreached else sum(estimate(message.text) + 4 for message in request.messages)
    written = estimate(text)
    return Usage(
        kind="retry",
        provider=route.provider,
        model=route.model,
        input_tokens=asked,
        output_tokens=written,
        cost=_cost(route, asked, written, 0),
        estimated=True,
    )


def _cost(route: ModelRoute, asked: int, written: int, cached: int) -> float:
    if not (route.input_cost or route.output_cost or route.cached_cost):
        return 0.0
    fresh = max(0, asked - cached)
    return (fresh * route.input_cost + cached * route.cached_cost + written * route.output_cost) / 1_000_000
