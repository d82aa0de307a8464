"""The Bot API as far as bots use it here: unknown methods, unknown parameters and broken HTML are refused."""

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from aiohttp import web

from tests.support.platforms.base import Call, FakePlatform

_TARGET = {
    "chat_id",
    "message_thread_id",
    "reply_parameters",
    "reply_markup",
    "disable_notification",
    "protect_content",
}
_TEXT = {"text", "parse_mode", "entities", "link_preview_options"}
_CAPTION = {"caption", "parse_mode", "caption_entities"}
METHODS: Mapping[str, tuple[set[str], set[str]]] = {
    "getMe": (set(), set()),
    "setWebhook": ({"url"}, {"secret_token", "allowed_updates", "max_connections", "drop_pending_updates"}),
    "deleteWebhook": (set(), {"drop_pending_updates"}),
    "getWebhookInfo": (set(), set()),
    "sendMessage": ({"chat_id", "text"}, _TARGET | _TEXT),
    "sendMessageDraft": ({"chat_id", "draft_id"}, {"text", "message_thread_id", "parse_mode", "entities"}),
    "editMessageText": ({"chat_id", "message_id", "text"}, _TEXT | {"reply_markup"}),
    "sendChatAction": ({"chat_id", "action"}, {"message_thread_id"}),
    "sendPhoto": ({"chat_id", "photo"}, _TARGET | _CAPTION),
    "sendAudio": ({"chat_id", "audio"}, _TARGET | _CAPTION),
    "sendVoice": ({"chat_id", "voice"}, _TARGET | _CAPTION),
    "sendVideo": ({"chat_id", "video"}, _TARGET | _CAPTION),
    "sendDocument": ({"chat_id", "document"}, _TARGET | _CAPTION),
    "answerCallbackQuery": ({"callback_query_id"}, {"text", "show_alert"}),
    "getFile": ({"file_id"}, set()),
}
TAGS = {"b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "a", "blockquote", "tg-spoiler"}


class FakeTelegram(FakePlatform):
    """One bot; every chat exists unless it is named in `gone`, `blocked` or `moved`."""

    slug = "telegram"
    auth = {"signature": "x-telegram-bot-api-secret-token", "covers_body": False}
    token = "123456:AA-test-key"
    secret = "s3cr3t_TOKEN-1"

    def __init__(self) -> None:
        super().__init__()
        self.chats: dict[str, dict[int, dict[str, Any]]] = {}
        self.drafts: dict[tuple[str, int], str] = {}
        self.gone: set[str] = set()
        self.blocked: set[str] = set()
        self.moved: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.webhook: dict[str, Any] = {}
        self.no_drafts = False
        self._last_id = 100

    def credentials(self) -> dict[str, Any]:
        return {"token": self.token, "secret_token": self.secret, "username": "hub_bot", "api_base": self.base_url}

    def sign(self, body: bytes, *, now: float, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        return {"content-type": "application/json", "x-telegram-bot-api-secret-token": self.secret, **(headers or {})}

    def limited(self, retry_after: float) -> bytes:
        wait = int(retry_after)
        described = f"Too Many Requests: retry after {wait}"
        body = {"ok": False, "error_code": 429, "description": described, "parameters": {"retry_after": wait}}
        return json.dumps(body).encode()

    def said(self, text: str, *, number: int, conversation: str = "7", sender: str = "7") -> bytes:
        chat = int(conversation or "7")
        message = {
            "message_id": number,
            "date": 1_725_442_341,
            "chat": {"id": chat, "type": "private" if chat > 0 else "supergroup"},
            "from": {"id": int(sender or "7"), "is_bot": False, "first_name": "Ann", "language_code": "en"},
            "text": text,
        }
        return json.dumps({"update_id": 10_000 + number, "message": message}).encode()

    def shown(self, conversation: str) -> list[str]:
        return [str(message["text"]) for message in self.chats.get(conversation, {}).values()]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/")
        if path.startswith(f"file/bot{self.token}/"):
            data = self.files.get(path.rsplit("/", 1)[-1])
            return web.Response(body=data) if data is not None else _error(404, "Not Found")
        prefix, _, method = path.partition("/")
        if prefix != f"bot{self.token}":
            return _error(401, "Unauthorized")
        body, problem = await _parameters(request)
        if method not in METHODS or (self.no_drafts and method == "sendMessageDraft"):
            return _error(404, "Not Found")
        required, optional = METHODS[method]
        unknown = set(body) - required - optional
        if problem or unknown or not required <= set(body):
            return _error(400, f"Bad Request: {problem or sorted(unknown) or sorted(required - set(body))}")
        refusal = self._refusal(body)
        if refusal is not None:
            return refusal
        self.calls.append(Call(method=method, body=body, headers=dict(request.headers)))
        return self._do(method, body)

    def _refusal(self, body: Mapping[str, Any]) -> web.Response | None:
        chat = str(body.get("chat_id", ""))
        if chat in self.gone:
            return _error(400, "Bad Request: chat not found")
        if chat in self.blocked:
            return _error(403, "Forbidden: bot was blocked by the user")
        if chat in self.moved:
            described = "Bad Request: group chat was upgraded to a supergroup chat"
            return _error(400, described, migrate_to_chat_id=int(self.moved[chat]))
        return None

    def _do(self, method: str, body: dict[str, Any]) -> web.Response:
        if method == "getMe":
            return _ok({"id": 123456, "is_bot": True, "first_name": "Hub", "username": "hub_bot"})
        if method == "setWebhook":
            self.webhook = body
            return _ok(True)
        if method == "getFile":
            data = self.files.get(body["file_id"])
            described = {"file_id": body["file_id"], "file_unique_id": "u", "file_path": f"documents/{body['file_id']}"}
            return _ok({**described, "file_size": len(data)}) if data is not None else _error(400, "Bad Request: gone")
        if method in ("sendChatAction", "answerCallbackQuery", "deleteWebhook"):
            return _ok(True)
        if "text" in body:
            return self._text(method, body)
        media = next(value for name, value in body.items() if name in method.lower())
        return self._store(body, f"[{media}]")

    def _text(self, method: str, body: dict[str, Any]) -> web.Response:
        text, problem = visible(str(body["text"])) if body.get("parse_mode") == "HTML" else (str(body["text"]), "")
        if problem:
            return _error(400, f"Bad Request: can't parse entities: {problem}")
        if not text.strip() and method != "sendMessageDraft":
            return _error(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > 4096:
            return _error(400, "Bad Request: message is too long")
        if method == "sendMessageDraft":
            return self._draft(body, text)
        if method == "editMessageText":
            return self._edit(body, text)
        return self._store(body, text)

    def _draft(self, body: dict[str, Any], text: str) -> web.Response:
        if str(body["chat_id"]).startswith("-") or int(body["draft_id"]) == 0:
            return _error(400, "Bad Request: drafts are for private chats")
        self.drafts[(str(body["chat_id"]), int(body["draft_id"]))] = text
        return _ok(True)

    def _edit(self, body: dict[str, Any], text: str) -> web.Response:
        message = self.chats.get(str(body["chat_id"]), {}).get(int(body["message_id"]))
        if message is None:
            return _error(400, "Bad Request: message to edit not found")
        if message["text"] == text and message.get("reply_markup") == body.get("reply_markup"):
            return _error(400, "Bad Request: message is not modified")
        message.update(text=text, reply_markup=body.get("reply_markup"))
        return _ok(_public(message))

    def _store(self, body: dict[str, Any], text: str) -> web.Response:
        for row in (body.get("reply_markup") or {}).get("inline_keyboard", []):
            for button in row:
                if not 1 <= len(button["callback_data"].encode()) <= 64:
                    return _error(400, "Bad Request: BUTTON_DATA_INVALID")
        self._last_id += 1
        chat = str(body["chat_id"])
        kind = "private" if not chat.startswith("-") else "supergroup"
        message = {
            "message_id": self._last_id,
            "date": 1_725_442_400,
            "chat": {"id": int(chat), "type": kind},
            "from": {"id": 123456, "is_bot": True, "first_name": "Hub", "username": "hub_bot"},
            "text": text,
            "reply_markup": body.get("reply_markup"),
        }
        self.chats.setdefault(chat, {})[self._last_id] = message
        self.drafts = {key: value for key, value in self.drafts.items() if key[0] != chat}
        return _ok(_public(message))


def _public(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if value is not None}


def _ok(result: object) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def _error(status: int, description: str, **parameters: Any) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters:
        body["parameters"] = parameters
    return web.json_response(body, status=status)


async def _parameters(request: web.Request) -> tuple[dict[str, Any], str]:
    if request.content_type == "application/json":
        body = await request.json()
        return (body, "") if isinstance(body, dict) else ({}, "not an object")
    made: dict[str, Any] = {}
    for name, value in (await request.post()).items():
        made[name] = value.filename if isinstance(value, web.FileField) else _loaded(value)
    return made, ""


def _loaded(value: Any) -> Any:
    text = str(value)
    return json.loads(text) if text[:1] in "{[" else text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.problem = "", ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        allowed = {"a": {"href"}, "code": {"class"}, "blockquote": {"expandable"}}.get(tag, set())
        if tag not in TAGS or {name for name, _ in attrs} - allowed:
            self.problem = f"unsupported start tag {tag}"
        if tag == "blockquote" and tag in self.open:
            self.problem = "nested blockquote"
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problem = f"unexpected end tag {tag}"

    def handle_data(self, data: str) -> None:
        self.text += data


def visible(markup: str) -> tuple[str, str]:
    """What a person reads of Telegram's HTML, and what is wrong with it (empty: nothing)."""
    parser = _Tags()
    parser.feed(markup)
    parser.close()
    return parser.text, parser.problem or ("unclosed tag" if parser.open else "")
