"""The yardstick: a raw ASGI application that verifies the signature and parses the JSON, and stores nothing.

Run: `python -m tests.benchmarks.raw_app FD SECRET`, with the hub's own server settings.
"""

import base64
import hashlib
import hmac
import socket
import sys
from typing import Any

import orjson
import uvicorn


class Application:
    """Standard Webhooks verified by hand: the least that a signed door can do."""

    def __init__(self, secret: str) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        headers = dict(scope["headers"])
        status = 401
        if b"webhook-id" in headers:
            signed = b".".join((headers[b"webhook-id"], headers[b"webhook-timestamp"], body))
            digest = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest())
            if hmac.compare_digest(b"v1," + digest, headers[b"webhook-signature"]):
                orjson.loads(body)
                status = 200
        answer = b'{"outcome":"new"}'
        fixed = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": fixed})
        await send({"type": "http.response.body", "body": answer})


def main() -> None:
    """Serve until SIGTERM."""
    config = uvicorn.Config(
        Application(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=4096,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
