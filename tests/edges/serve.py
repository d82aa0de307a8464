"""A gateway of its own for tests: `python -m tests.edges.serve uvicorn|daphne FD`."""

import socket
import sys


def main(kind: str, descriptor: int) -> None:
    from hub.env import env, select_settings

    select_settings()
    if kind == "uvicorn":
        from hub.server import Server

        Server(drain=env().drain).run(sockets=[socket.socket(fileno=descriptor)])
        return
    from daphne.cli import CommandLineInterface

    CommandLineInterface().run(["--fd", str(descriptor), "--no-server-name", "hub.asgi:application"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
