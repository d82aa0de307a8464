"""`python -m hub.cli.web FD [GATE]`: serve the ASGI application on a socket that the supervisor opened.

The supervisor keeps the socket, so connections wait in its queue while a crashed web process is started again. Loading
the program takes as long as making the database ready; with a gate both are done at once.
"""

import gc
import os
import signal
import socket
import sys
from importlib import import_module

from hub.env import env, select_settings
from hub.server import APPLICATION, PROBES, Server


def serve(descriptor: int, gate: int | None = None) -> None:
    """Serve until SIGTERM, then let open streams finish within HUB_DRAIN seconds.

    Nothing is asked of the database before the other end of the pipe `gate` is closed.
    """
    gc.disable()  # what is loaded stays; the runtime, once started, lets the collector look at what comes after
    select_settings()
    # A gateway among others goes on answering for a moment while its balancer learns that it is not ready.
    found = env()
    linger = 3.0 if found.role == "gateway" else 0.0
    application = PROBES if found.role == "runner" else APPLICATION
    if gate is not None:
        import_module(application.partition(":")[0])
        os.read(gate, 1)
    # uvicorn raises the signal again once it has stopped in order; that is a good end, not a death by signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(drain=found.drain, linger=linger, application=application).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:3]))
