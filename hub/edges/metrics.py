"""`/metrics` for Prometheus, and what the doors count. Details are for this machine or for who holds the token."""

import hmac
from collections.abc import Iterator
from typing import Final

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from channels_adapters.registry import adapters
from hub.backlog import Backlog
from hub.edges.doors import DOORS
from hub.edges.guard import COUNTERS, Refused, request_headers
from hub.edges.http import Receive, Scope, Send, respond, respond_json
from hub.env import env
from hub.runtime import current_runtime

WEBHOOKS: Final = Counter(
    "hub_webhooks_total", "Webhooks answered, by channel and class of answer.", ["channel", "answer"]
)
WEBHOOK_SECONDS: Final = Histogram(
    "hub_webhook_seconds",
    "From the request's head to its answer, for accepted webhooks.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 20),
)

REQUESTS: Final = Counter(
    "hub_http_requests_total", "Requests answered, by door and class of answer.", ["door", "answer"]
)
BACKLOG: Final = Backlog()


def known_channel(text: str) -> str:
    """A channel's slug as a label; anything else is `-`, so that labels stay few."""
    return text if text in adapters() else "-"


class _Open(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("hub_chat_doors", "Open chat sockets and event streams.", value=len(DOORS))


class _Process(Collector):
    """What the process's runtime counts by itself, read when somebody looks."""

    def collect(self) -> Iterator[Metric]:
        runtime = current_runtime()
        if runtime is None or not runtime.started:
            return
        lookups = CounterMetricFamily("hub_l1_lookups", "Look-ups of warm states, by result.", labels=["result"])
        for result in ("hits", "misses", "stale", "evicted"):
            lookups.add_metric([result], getattr(runtime.agents.warm, result))
        yield lookups
        calls = CounterMetricFamily("hub_model_attempts", "Attempts to call a model, by outcome.", labels=["outcome"])
        for outcome, count in runtime.agents.calls.outcomes.items():
            calls.add_metric([outcome], count)
        yield calls
        if runtime.runner is not None:
            most = runtime.env.turn_concurrency
            yield GaugeMetricFamily("hub_turns_capacity", "Turns that this process works on at most.", value=most)
        pools = GaugeMetricFamily("hub_pool_connections", "Database connections.", labels=["pool", "state"])
        for (pool, state), count in runtime.pools.sizes().items():
            pools.add_metric([pool, state], count)
        yield pools


class _PerConnection(Collector):
    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "hub_connection_events", "What came in lately, by connection.", labels=["channel", "connection", "outcome"]
        )
        for channel, connection_id, outcome, count in COUNTERS:
            family.add_metric([channel, str(connection_id), outcome], count)
        yield family


REGISTRY.register(_Open())
REGISTRY.register(_Process())
REGISTRY.register(BACKLOG)
_details = CollectorRegistry()
_details.register(_PerConnection())


def may_see_details(scope: Scope, headers: dict[str, str]) -> bool:
    """Whether the caller is on this machine (and no proxy is between) or holds HUB_METRICS_TOKEN."""
    token = env().metrics_token
    kind, _, given = headers.get("authorization", "").partition(" ")
    if token is not None and kind.lower() == "bearer":
        return hmac.compare_digest(given.strip().encode(), token.get_secret_value().encode())
    host = (scope.get("client") or ("", 0))[0]
    return host in ("127.0.0.1", "::1", "") and not ({"x-forwarded-for", "forwarded"} & headers.keys())


async def metrics(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 (an ASGI application)
    """Answer `GET /metrics`: to strangers 404, as if there were nothing."""
    try:
        seen = may_see_details(scope, request_headers(scope))
    except Refused:
        seen = False
    if not seen:
        await respond_json(send, 404, {"error": {"code": "not_found", "message": "there is nothing here"}})
        return
    runtime = current_runtime()
    if runtime is not None and runtime.started:
        await BACKLOG.refresh(runtime.pools)
    body = generate_latest(REGISTRY) + generate_latest(_details)
    await respond(send, 200, body, media_type=CONTENT_TYPE_LATEST.encode())
