"""What autoscalers and probes are told is what is so."""

import socket
import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from hub.background import LIVE_SECONDS, READY_SECONDS, Pulse, open_door
from hub.env import env

if TYPE_CHECKING:
    from tests.support.world import World


async def test_what_waits_is_counted_and_gone_once_it_is_answered(hub_world: "World") -> None:
    from hub.backlog import Backlog
    from hub.edges.metrics import BACKLOG

    assert isinstance(BACKLOG, Backlog)
    gateway = await hub_world.another(role="gateway")
    await hub_world.say("is anybody there?", runtime=gateway)
    waiting = Backlog()
    await waiting.refresh(gateway.pools)
    assert waiting.look is not None
    assert (waiting.look.turns, waiting.look.workers) == (1, {"gateway": 1})
    assert waiting.look.oldest_turn >= 0
    await hub_world.runtime.start()
    await hub_world.quiet()
    done = Backlog()
    await done.refresh(gateway.pools)
    assert done.look is not None
    assert (done.look.turns, done.look.oldest_turn) == (0, 0)
    assert sum(done.look.workers.values()) == 2
    assert hub_world.runtime.agents.calls.outcomes["ok"] == 1
    sizes = hub_world.runtime.pools.sizes()
    assert sizes["app", "idle"] + sizes["app", "busy"] <= sizes["app", "most"]


async def test_a_database_that_is_away_gives_no_numbers_rather_than_old_ones(hub_world: "World") -> None:
    from hub.backlog import Backlog

    backlog = Backlog()
    await backlog.refresh(hub_world.runtime.pools)  # never opened
    assert backlog.look is None
    assert [metric.name for metric in backlog.collect()] == ["hub_backlog_seen"]


def test_a_loop_that_stands_still_is_not_ready_and_then_not_live() -> None:
    pulse = Pulse(time.monotonic())
    assert pulse.answer("/health/ready")[0] == 503  # not begun
    assert pulse.answer("/health/live")[0] == 200
    pulse.beat()
    assert pulse.answer("/health/ready")[0] == 200
    pulse.at -= READY_SECONDS + 1
    assert (pulse.answer("/health/ready")[0], pulse.answer("/health/live")[0]) == (503, 200)
    pulse.at -= LIVE_SECONDS
    assert pulse.answer("/health/live")[0] == 503
    assert pulse.answer("/admin/")[0] == 404


def ask(port: int, path: str, **headers: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


def test_strangers_see_no_metrics_of_a_worker() -> None:
    pulse = Pulse(time.monotonic())
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with open_door(listener, env(), pulse.answer):
        assert ask(port, "/metrics") == 200  # this machine
        assert ask(port, "/metrics", X_Forwarded_For="9.9.9.9") == 404
        assert ask(port, "/metrics", Authorization="Bearer nonsense", X_Forwarded_For="9.9.9.9") == 404
        assert ask(port, "/health/live") == 200
    assert not [one for one in threading.enumerate() if one.name == "door"]
