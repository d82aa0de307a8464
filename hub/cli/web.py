"""`python -m hub.cli.web FD`: serve the ASGI application on a socket that the supervisor opened.

The supervisor keeps the socket, so connections wait in its queue while a crashed web process is started again.
"""

import signal
import socket
import sys

from hub.env import env, select_settings
from hub.server import APPLICATION, PROBES, Server


def serve(descriptor: int) -> None:
    """Serve until SIGTERM, then let open streams finish within HUB_DRAIN seconds."""
    select_settings()
    # A gateway among others goes on answering for a moment while its balancer learns that it is not ready.
    found = env()
    linger = 3.0 if found.role == "gateway" else 0.0
    application = PROBES if found.role == "runner" else APPLICATION
    # uvicorn raises the signal again once it has stopped in order; that is a good end, not a death by signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(drain=found.drain, linger=linger, application=application).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
