"""Slack's Web API as far as apps use it here: unknown methods and arguments are refused, streams have their states."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.support.platforms.base import Call, FakePlatform

_SHOWN = {"text", "blocks", "metadata", "markdown_text", "unfurl_links", "unfurl_media", "attachments"}
METHODS: Mapping[str, tuple[set[str], set[str]]] = {
    "auth.test": (set(), set()),
    "chat.postMessage": ({"channel"}, {"thread_ts", "reply_broadcast", "mrkdwn", *_SHOWN}),
    "chat.update": ({"channel", "ts"}, _SHOWN),
    "chat.startStream": (
        {"channel", "thread_ts"},
        {"markdown_text", "recipient_team_id", "recipient_user_id", "chunks"},
    ),
    "chat.appendStream": ({"channel", "ts"}, {"markdown_text", "chunks"}),
    "chat.stopStream": ({"channel", "ts"}, {"markdown_text", "blocks", "metadata", "chunks"}),
    "assistant.threads.setStatus": ({"channel_id", "thread_ts", "status"}, {"loading_messages"}),
    "conversations.history": (
        {"channel"},
        {"oldest", "latest", "limit", "cursor", "include_all_metadata", "inclusive"},
    ),
    "conversations.replies": (
        {"channel", "ts"},
        {"oldest", "latest", "limit", "cursor", "include_all_metadata", "inclusive"},
    ),
    "files.getUploadURLExternal": ({"filename", "length"}, {"alt_txt", "snippet_type"}),
    "files.completeUploadExternal": ({"files"}, {"channel_id", "thread_ts", "initial_comment"}),
}


class FakeSlack(FakePlatform):
    """One workspace T1 with the app A1, whose bot is UBOT; every channel exists unless it is named in `gone`."""

    slug = "slack"
    auth = {
        "signature": "x-slack-signature",
        "timestamp": "x-slack-request-timestamp",
        "prefix": "v0=",
        "window": 300,
        "covers_body": True,
    }
    token = "xoxb-test-1"
    secret = "8f742231b10e8888abcd99yyyzzz85a5"

    def __init__(self) -> None:
        super().__init__()
        self.channels: dict[str, list[dict[str, Any]]] = {}
        self.gone: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.no_streams = False
        self.page = 200
        self.used_up = False
        """Response addresses answer that they are expired."""
        self._clock = 1_725_442_400_000_000

    def credentials(self) -> dict[str, Any]:
        own = {"app_id": "A1", "team_id": "T1", "api_base": self.base_url + "/api"}
        return {"bot_token": self.token, "signing_secret": self.secret, **own}

    def sign(self, body: bytes, *, now: float, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        stamp = str(int(now))
        digest = hmac.new(self.secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        kind = "application/json" if body[:1] in b"{[" else "application/x-www-form-urlencoded"
        signed = {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={digest}"}
        return {"content-type": kind, **signed, **(headers or {})}

    def said(self, text: str, *, number: int, conversation: str = "D1", sender: str = "U1") -> bytes:
        channel = conversation or "D1"
        event = {
            "type": "message",
            "channel": channel,
            "channel_type": "im" if channel.startswith("D") else "channel",
            "user": sender or "U1",
            "text": self.typed(text),
            "ts": f"1725442341.{number:06d}",
        }
        return self.event(event, number=number)

    def typed(self, text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    def event(self, event: Mapping[str, Any], *, number: int) -> bytes:
        """Any event in its envelope."""
        envelope = {
            "type": "event_callback",
            "team_id": "T1",
            "api_app_id": "A1",
            "event_id": f"Ev{number}",
            "event_time": 1_725_442_341,
            "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}],
        }
        return json.dumps({**envelope, "event": event}).encode()

    def shown(self, conversation: str) -> list[str]:
        return [str(message["text"]) for message in self.channels.get(conversation, [])]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        method = self.method_of(request)
        if request.path.startswith("/upload/"):
            self.uploads[method] = await request.read()
            return web.Response(text="OK")
        if request.path.startswith("/respond/"):
            return await self._respond(request)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _error("invalid_auth")
        if request.path.startswith("/files/"):
            return web.Response(body=self.files[method]) if method in self.files else web.Response(status=404)
        body = await _arguments(request)
        if method not in METHODS or (self.no_streams and method == "chat.startStream"):
            return _error("unknown_method")
        required, optional = METHODS[method]
        if set(body) - required - optional or not required <= {name for name, value in body.items() if value}:
            return _error("invalid_arguments")
        if body.get("channel", body.get("channel_id")) in self.gone:
            return _error("channel_not_found")
        self.calls.append(Call(method=method, body=body, headers=dict(request.headers)))
        return self._do(method, body)

    async def _respond(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.used_up:
            return web.Response(status=404, text="used_url")
        self.calls.append(Call(method="respond", body=body, headers=dict(request.headers)))
        self._store(self.method_of(request), {"text": body["text"]})
        return web.Response(text="ok")

    def _do(self, method: str, body: dict[str, Any]) -> web.Response:
        if method == "auth.test":
            return _ok(team="Team", team_id="T1", user="hub", user_id="UBOT", bot_id="B1")
        if method == "assistant.threads.setStatus":
            return _ok()
        if method.startswith("files."):
            return self._file(method, body)
        if method.startswith("conversations."):
            return self._history(body)
        if len(str(body.get("markdown_text", ""))) > 12_000 or len(json.dumps(body.get("blocks", []))) > 13_200:
            return _error("msg_too_long")
        if method in ("chat.postMessage", "chat.startStream"):
            return self._open(method, body)
        message = next((item for item in self.channels.get(body["channel"], []) if item["ts"] == body["ts"]), None)
        if message is None:
            return _error("message_not_found")
        return self._change(method, body, message)

    def _open(self, method: str, body: dict[str, Any]) -> web.Response:
        streaming = method == "chat.startStream"
        text = str(body.get("markdown_text" if streaming else "text", ""))
        if not text and not body.get("blocks") and not streaming:
            return _error("no_text")
        if streaming and not body["channel"].startswith("D") and not body.get("recipient_user_id"):
            return _error("missing_recipient_user_id")
        if any(len(block.get("text", {}).get("text", "")) > 3000 for block in body.get("blocks", [])):
            return _error("invalid_blocks")
        kept: dict[str, Any] = {name: body[name] for name in ("thread_ts", "metadata", "blocks") if name in body}
        message = self._store(body["channel"], {"text": text, "streaming": streaming, **kept})
        return _ok(channel=body["channel"], ts=message["ts"])

    def _change(self, method: str, body: dict[str, Any], message: dict[str, Any]) -> web.Response:
        if method == "chat.update":
            if message["streaming"]:
                return _error("streaming_state_conflict")
            message.update({name: body[name] for name in ("text", "blocks", "metadata") if name in body})
            return _ok(channel=body["channel"], ts=message["ts"], text=message["text"])
        if not message["streaming"]:
            return _error("message_not_in_streaming_state")
        message["text"] += str(body.get("markdown_text", ""))
        if method == "chat.stopStream":
            message.update({name: body[name] for name in ("blocks", "metadata") if name in body}, streaming=False)
        return _ok(channel=body["channel"], ts=message["ts"])

    def _file(self, method: str, body: dict[str, Any]) -> web.Response:
        if method == "files.getUploadURLExternal":
            file_id = f"F{len(self.uploads) + 1}"
            self.uploads[file_id] = b""
            return _ok(file_id=file_id, upload_url=f"{self.base_url}/upload/{file_id}")
        for file in body["files"]:
            if not self.uploads.get(file["id"]):
                return _error("file_not_found")
            self._store(body.get("channel_id", ""), {"text": f"[{file['title']}]"})
        return _ok(files=body["files"])

    def _history(self, body: dict[str, Any]) -> web.Response:
        oldest, start = float(body.get("oldest", 0)), int(body.get("cursor") or 0)
        found = [item for item in self.channels.get(body["channel"], []) if float(item["ts"]) >= oldest]
        page = [dict(item) for item in reversed(found)][start : start + self.page]
        if str(body.get("include_all_metadata", "")).lower() not in ("1", "true"):
            page = [{name: value for name, value in item.items() if name != "metadata"} for item in page]
        following = str(start + self.page) if start + self.page < len(found) else ""
        return _ok(messages=page, has_more=bool(following), response_metadata={"next_cursor": following})

    def _store(self, channel: str, message: dict[str, Any]) -> dict[str, Any]:
        self._clock += 1_000_100
        made = {"type": "message", "streaming": False, **message}
        made["ts"] = f"{self._clock // 1_000_000}.{self._clock % 1_000_000:06d}"
        self.channels.setdefault(channel, []).append(made)
        return made


def _ok(**fields: Any) -> web.Response:
    return web.json_response({"ok": True, **fields})


def _error(code: str) -> web.Response:
    return web.json_response({"ok": False, "error": code})


async def _arguments(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        body = await request.json() if await request.read() else {}
        return body if isinstance(body, dict) else {}
    made = {name: str(value) for name, value in (await request.post()).items()}
    made.pop("token", None)
    return {name: json.loads(value) if value[:1] in "{[" else value for name, value in made.items()}
