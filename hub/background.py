"""`python -m hub.background FD worker|beat …`: Celery as a container runs it, with a small door for probes beside it.

The door is a thread: it answers while tasks run in processes of their own, and tells how long ago the main loop turned.
"""

import hmac
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from celery.signals import heartbeat_sent, worker_ready
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from typing_extensions import override

from hub.celery import app
from hub.env import Env, env
from hub.schedule import Slots

READY_SECONDS: Final = 60.0
"""Without a turn of the loop for so long nothing is taken: the broker is away, or the loop hangs."""
LIVE_SECONDS: Final = 300.0
"""After so long a new process may help."""
_REQUEST_SECONDS: Final = 5.0


@dataclass(slots=True)
class Pulse:
    """When the main loop last turned, on the monotonic clock; a start counts as a turn."""

    at: float
    begun: bool = False

    def beat(self, **_: object) -> None:
        """The loop turned; a receiver of signals."""
        self.at, self.begun = time.monotonic(), True

    def answer(self, path: str) -> tuple[int, str]:
        """Status and word for a probe's path."""
        age = time.monotonic() - self.at
        if path == "/health/live":
            return (200, "live") if age < LIVE_SECONDS else (503, "stuck")
        if path == "/health/ready":
            return (200, "ready") if self.begun and age < READY_SECONDS else (503, "waiting")
        return 404, "nothing"


class Tasks(Collector):
    """What this worker's main process knows of its tasks."""

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client's."""
        from celery.worker import state

        taken = CounterMetricFamily("hub_tasks_accepted", "Background tasks begun, by name.", labels=["task"])
        for name, count in dict(state.total_count).items():
            taken.add_metric([name], count)
        yield taken
        yield GaugeMetricFamily("hub_tasks_active", "Background tasks at work.", value=len(state.active_requests))


def handler(answer: Callable[[str], tuple[int, str]], *, token: str) -> type[BaseHTTPRequestHandler]:
    """The door's answers; `/metrics` is for this machine and for who holds the token."""

    class Door(BaseHTTPRequestHandler):
        timeout = _REQUEST_SECONDS

        def do_GET(self) -> None:
            if self.path == "/metrics" and self._trusted():
                status, body, kind = 200, generate_latest(REGISTRY), "text/plain; version=0.0.4; charset=utf-8"
            else:
                status, word = answer(self.path)
                body, kind = f'{{"status":"{word}"}}'.encode(), "application/json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _trusted(self) -> bool:
            kind, _, given = self.headers.get("Authorization", "").partition(" ")
            if token and kind.lower() == "bearer":
                return hmac.compare_digest(given.strip().encode(), token.encode())
            return str(self.client_address[0]) in ("127.0.0.1", "::1") and "X-Forwarded-For" not in self.headers

        @override
        def log_message(self, *_: object) -> None:
            return  # probes are no news

    return Door


@contextmanager
def open_door(listener: socket.socket, found: Env, answer: Callable[[str], tuple[int, str]]) -> Iterator[None]:
    """Answer on this socket while the block runs."""
    token = found.metrics_token.get_secret_value() if found.metrics_token else ""
    server = ThreadingHTTPServer(("", 0), handler(answer, token=token), bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="door", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def main(descriptor: str, role: str, *line: str) -> None:
    """Run Celery with this command line until SIGTERM."""
    found = env()
    pulse = Pulse(time.monotonic())
    if role == "worker":
        REGISTRY.register(Tasks())
        worker_ready.connect(pulse.beat, weak=False)
        heartbeat_sent.connect(pulse.beat, weak=False)
    else:
        Slots.ticked = pulse.beat
    with open_door(socket.socket(fileno=int(descriptor)), found, pulse.answer):
        app.start(["--quiet", *line])


if __name__ == "__main__":
    main(*sys.argv[1:])
