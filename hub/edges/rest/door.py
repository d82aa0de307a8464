"""What stands before Django under /api/: the body is read whole here, bounded in size and time, or refused."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from hub.edges.guard import API_BODY, ClientGone, Refused, read_body, request_headers
from hub.edges.http import Receive, Scope, Send, respond
from hub.edges.rest.problems import MEDIA_TYPE, PROBLEMS, document

App = Callable[[Scope, Receive, Send], Awaitable[None]]
_CODES = {
    408: "body_too_slow",
    413: "body_too_large",
    414: "headers_too_large",
    415: "unsupported_media_type",
    431: "headers_too_large",
}


def guarded(pages: App) -> App:
    """Django, behind these limits: it would keep a body of any size and wait for it for ever."""

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(request_headers(scope), receive, limit=API_BODY)
        except Refused as refused:
            await _refuse(send, refused)
            return
        except ClientGone:
            return
        await pages(scope, _replayed(body, receive), send)

    return api


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(send: Send, refused: Refused) -> None:
    code = _CODES.get(refused.status, "malformed")
    status, meaning = PROBLEMS[code]
    told = orjson.dumps(document(status, meaning, code=code))
    # The rest of the body is not read, so the connection cannot go on.
    await respond(send, status, told, media_type=MEDIA_TYPE.encode(), headers=[(b"connection", b"close")])
