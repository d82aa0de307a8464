"""`python -m hub.cli.web FD`: serve the ASGI application on a socket that the supervisor opened.

The supervisor keeps the socket, so connections wait in its queue while a crashed web process is started again.
"""

import socket
import sys

import uvicorn

from hub.env import env, select_settings

BACKLOG = 4096


def serve(descriptor: int) -> None:
    """Serve until SIGTERM, then let open streams finish within HUB_DRAIN seconds."""
    select_settings()
    found = env()
    config = uvicorn.Config(
        "hub.asgi:application",
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # costs memory per idle socket and time per chunk; chunks are small
        ws_max_size=1024 * 1024,
        lifespan="on",
        backlog=BACKLOG,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=int(found.drain),
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
