"""What we do on Slack through its Web API, one method per deed."""

import base64
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from channels_adapters import http as answers
from channels_adapters import reading
from channels_adapters.base import Http
from channels_adapters.errors import ContentRefused, OutcomeUnknown
from channels_adapters.platforms.slack import calls, outbound
from channels_adapters.types import Address, Attachment, Part, SentMessage

METADATA_TYPE = "hub_delivery"
PAGE = 200
MOST_PAGES = 5
CLOCK_SKEW = 60.0
"""Seconds by which Slack's clock may differ from ours; a key is found but once, so looking further back is safe."""
STALE_STREAM = frozenset({"message_not_in_streaming_state", "streaming_state_conflict"})


class WebApi:
    """Slack's Web API as one app's bot."""

    def __init__(self, http: Http, *, base: str, token: str) -> None:
        self.http = http
        self._base = base
        self._token = token

    async def call(self, method: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """One method that reads JSON."""
        return await calls.call(self.http, self._url(method), self._token, body)

    async def post(self, address: Address, part: Part, *, key: str) -> SentMessage:
        """Post a message that carries its delivery's key."""
        body = {"channel": address.conversation, **_thread(address), **_shown(part), "metadata": metadata(key)}
        return _sent(await self.call("chat.postMessage", {**body, "unfurl_links": False}), {"mode": "edit"})

    async def start(self, address: Address, part: Part) -> SentMessage:
        """Open a native stream in a thread."""
        markdown = str(part.payload["markdown"])
        body = {"channel": address.conversation, "thread_ts": address.thread, "markdown_text": markdown}
        if not address.extra.get("direct"):
            body |= {"recipient_team_id": address.extra.get("team", ""), "recipient_user_id": address.recipient}
        return _sent(await self.call("chat.startStream", body), outbound.progress(markdown))

    async def replace(self, address: Address, sent: SentMessage, part: Part) -> SentMessage:
        """Write a message anew."""
        await self.call("chat.update", {**message(address, sent), **_shown(part)})
        return SentMessage(platform_id=sent.platform_id, extra={"mode": "edit"})

    async def stop(self, address: Address, sent: SentMessage, ending: Mapping[str, object]) -> bool:
        """Whether the stream was still open and took its ending."""
        try:
            await self.call("chat.stopStream", {**message(address, sent), **ending})
        except ContentRefused as error:
            if error.code not in STALE_STREAM:
                raise
            return False
        return True

    async def respond(self, address: Address, part: Part) -> SentMessage:
        """Answer a command through its own address, which works in channels that we are not in. It names no message."""
        body = {"response_type": "in_channel", **_shown(part)}
        response = await self.http.request("POST", address.handle, json=body)
        if response.status != 200:
            kind = answers.error_for_status(response.status)
            raise answers.make_error(kind, f"the response_url answered {response.status}", status=response.status)
        return SentMessage(platform_id="", extra={"mode": "handle"})

    async def upload(self, address: Address, part: Part) -> SentMessage:
        """Upload a file and share it."""
        data, name = base64.b64decode(str(part.payload["data"])), str(part.payload["name"])
        form = {"filename": name, "length": str(len(data))}
        place = await calls.ask(self.http, self._url("files.getUploadURLExternal"), self._token, form)
        file_id = reading.text(place, "file_id")
        response = await self.http.request("POST", reading.text(place, "upload_url"), data=data, timeout=60.0)
        if response.status != 200:
            kind = answers.error_for_status(response.status)
            raise answers.make_error(kind, f"the upload answered {response.status}", status=response.status)
        body = {"files": [{"id": file_id, "title": name}], "channel_id": address.conversation, **_thread(address)}
        await self.call("files.completeUploadExternal", body)
        return SentMessage(platform_id=file_id, extra={"mode": "file"})

    async def download(self, attachment: Attachment, *, max_bytes: int) -> bytes:
        """Private files want the bot's token, so only Slack's own hosts are asked."""
        parts = urlsplit(attachment.url)
        own = urlsplit(self._base)
        slack = parts.scheme == "https" and (parts.hostname or "").endswith(".slack.com")
        if not slack and (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
            raise ContentRefused("the file is not on Slack")
        if (attachment.size or 0) > max_bytes:
            raise ContentRefused("the file is larger than allowed")
        bearer = {"authorization": f"Bearer {self._token}"}
        response = await answers.download(self.http, attachment.url, headers=bearer, max_bytes=max_bytes)
        kind = next((value for name, value in response.headers.items() if name.lower() == "content-type"), "")
        if "text/html" in kind and attachment.media_type != "text/html":
            raise ContentRefused("Slack showed its sign-in page: the app lacks files:read")
        return response.body

    async def find(self, address: Address, *, key: str, since: datetime) -> SentMessage | None:
        """The message that carries this delivery's key, among those since then; None when there is none."""
        body: dict[str, object] = {
            "channel": address.conversation,
            "oldest": f"{since.timestamp() - CLOCK_SKEW:.6f}",
            "include_all_metadata": "true",
            "limit": PAGE,
        }
        method = "conversations.replies" if address.thread else "conversations.history"
        form = {name: str(value) for name, value in {**body, **_thread(address, "ts")}.items()}
        for _ in range(MOST_PAGES):
            page = await calls.ask(self.http, self._url(method), self._token, form)
            for message in reading.items(page, "messages"):
                if reading.text(reading.mapping(message, "metadata", "event_payload"), "key") == key:
                    return SentMessage(platform_id=reading.text(message, "ts"), extra={"mode": "edit"})
            form["cursor"] = reading.text(reading.mapping(page, "response_metadata"), "next_cursor")
            if not form["cursor"]:
                return None
        raise OutcomeUnknown("too many messages since then")

    def _url(self, method: str) -> str:
        return f"{self._base}/{method}"


def _thread(address: Address, name: str = "thread_ts") -> dict[str, str]:
    return {name: address.thread} if address.thread else {}


def message(address: Address, sent: SentMessage) -> dict[str, object]:
    """Which message a method is about."""
    return {"channel": address.conversation, "ts": sent.platform_id}


def _shown(part: Part) -> dict[str, object]:
    return {name: part.payload[name] for name in ("text", "blocks") if name in part.payload}


def metadata(key: str) -> dict[str, object]:
    """What `find` looks for."""
    return {"event_type": METADATA_TYPE, "event_payload": {"key": key}}


def _sent(answer: Mapping[str, object], extra: Mapping[str, str]) -> SentMessage:
    stamp = reading.text(answer, "ts")
    if not stamp:
        raise OutcomeUnknown("Slack's answer names no message")
    return SentMessage(platform_id=stamp, extra=extra)
