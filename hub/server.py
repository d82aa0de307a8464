"""uvicorn as the hub runs it, taught to leave politely: nobody is cut off who can be told to come back elsewhere."""

import asyncio
import socket
from typing import Final

import uvicorn
from typing_extensions import override

BACKLOG: Final = 4096
MAX_FRAME: Final = 64 * 1024
APPLICATION: Final = "hub.asgi:application"
PROBES: Final = "hub.asgi:probes"
"""For a process that runs turns only: health and metrics, no door for anybody else."""


def config(*, drain: float, application: str = APPLICATION) -> uvicorn.Config:
    """Settings for a server on given sockets; `drain` is the seconds that open streams get."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME,
        ws_per_message_deflate=False,  # costs memory per idle socket and time per chunk; chunks are small
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(drain) + 1,
        backlog=BACKLOG,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
    )


class Server(uvicorn.Server):
    """On SIGTERM: not ready any more, no new connections, chats are told to move, streams finish, then the rest.

    uvicorn alone closes every socket at once, before the application hears of the end.
    """

    def __init__(self, *, drain: float, linger: float = 0.0, application: str = APPLICATION) -> None:
        """`linger`: seconds to go on taking connections while not ready, for a balancer to notice."""
        super().__init__(config(drain=drain, application=application))
        self._linger = linger

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        from hub.runtime import current_runtime  # the application has set Django up by now, not before

        runtime = current_runtime()
        draining = None if runtime is None else asyncio.ensure_future(runtime.drain())
        await asyncio.sleep(self._linger)
        for server in self.servers:
            server.close()
        if draining is not None:
            await draining
        await super().shutdown(sockets)
