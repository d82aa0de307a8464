"""Valkey: fast and forgettable. It keeps nothing on disk, because losing it costs delay and nothing else."""

import signal
import socket
import time

from hub.embedded.account import Account
from hub.embedded.binaries import Binaries
from hub.embedded.errors import ServerFailed
from hub.embedded.layout import Layout
from hub.embedded.processes import ServerProcess, Start, pause

_READY_SECONDS = 20.0


def start(layout: Layout, *, binaries: Binaries, account: Account, memory_mb: int) -> ServerProcess:
    """Start the server and wait until it answers."""
    # Only keys with an expiry may be evicted: the broker's lists have none, so no task is ever thrown away.
    options = ["--port", "0", "--unixsocket", str(layout.valkey_socket), "--unixsocketperm", "700"]
    options += ["--save", "", "--appendonly", "no", "--databases", "16", "--loglevel", "warning"]
    options += ["--maxmemory", f"{memory_mb}mb", "--maxmemory-policy", "volatile-lru", "--daemonize", "no"]
    plan = Start(
        name="Valkey",
        command=[binaries.valkey, *options],
        folder=layout.valkey_dir,
        log=layout.log_dir / "valkey.log",
        stop_signal=signal.SIGTERM,
    )
    layout.valkey_socket.unlink(missing_ok=True)
    server = ServerProcess(plan, account=account)
    deadline = time.monotonic() + _READY_SECONDS
    while not answers(layout):
        if server.exit_code is not None:
            raise server.failed()
        if time.monotonic() > deadline:
            server.stop(patience=2.0)
            raise ServerFailed("Valkey did not answer within {seconds:.0f} s", seconds=_READY_SECONDS)
        pause()
    return server


def answers(layout: Layout) -> bool:
    """Whether the server of this folder answers a ping now."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2.0)
        try:
            client.connect(str(layout.valkey_socket))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
