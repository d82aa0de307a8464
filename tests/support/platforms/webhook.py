"""A program that talks to the generic channel: it signs with, and checks by, the official library."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.platforms.base import Call, FakePlatform


class FakeProgram(FakePlatform):
    """Receives answers at `/callback`. A repeated `webhook-id` is one message, as the specification asks."""

    slug = "webhook"
    auth = {
        "signature": "webhook-signature",
        "timestamp": "webhook-timestamp",
        "id": "webhook-id",
        "prefix": "v1,",
        "window": 300,
        "covers_body": True,
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, dict[str, Any]] = {}
        self.repeats = 0
        self.files: dict[str, bytes] = {}

    def credentials(self) -> dict[str, Any]:
        return {"secret": self.secret, "callback_url": f"{self.base_url}/callback"}

    def sign(self, body: bytes, *, now: float, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        message_id = (headers or {}).get("webhook-id", "msg_1")
        moment = datetime.fromtimestamp(int(now), tz=UTC)
        signature = Webhook(self.secret).sign(message_id, moment, body.decode("utf-8", "surrogateescape"))
        signed = {"webhook-id": message_id, "webhook-timestamp": str(int(now)), "webhook-signature": signature}
        return {"content-type": "application/json", **signed, **(headers or {})}

    def said(self, text: str, *, number: int, conversation: str = "c1", sender: str = "u1") -> bytes:
        data = {"conversation": conversation or "c1", "sender": sender or "u1", "id": f"m{number}", "text": text}
        return json.dumps({"type": "message", "data": data}).encode()

    def shown(self, conversation: str) -> list[str]:
        return [data["text"] for data in self.answers.values() if data.get("conversation") == conversation]

    def method_of(self, request: web.Request) -> str:
        return request.path.strip("/")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/files/"):
            data = self.files.get(request.path.removeprefix("/files/"))
            return web.Response(body=data) if data is not None else web.Response(status=404)
        body = await request.read()
        try:
            message = Webhook(self.secret).verify(body.decode(), {k.lower(): v for k, v in request.headers.items()})
        except WebhookVerificationError:
            return web.Response(status=401)
        if request.path != "/callback" or message.get("type") not in ("message", "ping"):
            return web.Response(status=404)
        self.calls.append(Call(method=message["type"], body=message, headers=dict(request.headers)))
        message_id = request.headers["webhook-id"]
        self.repeats += message_id in self.answers
        if message["type"] == "message":
            wanted = {"conversation", "in_reply_to", "in_reply_to_all", "text", "sequence", "final"}
            if not wanted <= set(message["data"]):
                return web.Response(status=422)
            self.answers.setdefault(message_id, message["data"])
        return web.Response(status=204)
