"""What a turn answers, as the agent takes it: texts, images, and what an API caller asked for.

Memory numbers its lines 2 x seq for what was said and one more for what was answered to it: the answer's own seq is
only known at commit, when later messages may already have taken the next numbers.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from agents.types import ChatMessage, Image, InputMessage, ToolCall, ToolSchema
from channels_adapters.base import ChannelAdapter
from channels_adapters.errors import ChannelError
from channels_adapters.types import AttachmentKind
from hub.ledger.claim import Claimed
from hub.pipeline.bodies import Body, body_cell, unpack, unpack_attachment
from hub.pipeline.rows import Recent
from tenants.crypto import Vault
from tenants.db.pools import Pools

log = structlog.get_logger(__name__)

MOST_IMAGES = 4
IMAGE_BYTES = 5 << 20
_READ = "SELECT id, body FROM message WHERE id = ANY (%s)"
_REFUSED = (
    "SELECT m.id, m.body FROM turn t JOIN message m ON m.session_id = t.session_id AND m.seq = t.first_seq "
    "WHERE t.id = %s"
)


@dataclass(frozen=True, slots=True)
class Options:
    """What an API caller asked for with the message."""

    history: Sequence[ChatMessage] | None = None
    tools: Sequence[ToolSchema] = ()
    tool_choice: object | None = None
    max_tokens: int | None = None
    temperature: float | None = None


async def read_bodies(pools: Pools, vault: Vault, recent: Recent, claimed: Claimed) -> list[Body]:
    """The bodies of the turn's messages, oldest first; what this process still holds is not read again."""
    if claimed.kind == "notice":
        return await _where_refused(pools, vault, claimed)
    held = {message_id: recent.take(message_id) for _, message_id in claimed.messages}
    missing = [message_id for message_id, body in held.items() if body is None]
    if missing:
        async with pools.app(claimed.tenant_id) as conn:
            rows = await (await conn.execute(_READ, (missing,))).fetchall()
        for message_id, sealed in rows:
            held[message_id] = unpack(vault.open(body_cell(claimed.tenant_id, message_id), bytes(sealed)))
    return [held[message_id] or Body() for _, message_id in claimed.messages]


async def _where_refused(pools: Pools, vault: Vault, claimed: Claimed) -> list[Body]:
    """A notice answers no message, but goes where the refused one came from: its address, without its text."""
    async with pools.app(claimed.tenant_id) as conn:
        rows = await (await conn.execute(_REFUSED, (claimed.turn_id,))).fetchall()
    bodies = [unpack(vault.open(body_cell(claimed.tenant_id, ident), bytes(sealed))) for ident, sealed in rows]
    return [Body(address=body.address) for body in bodies]


class Inputs:
    """Turns bodies into input messages, fetching images through the adapter."""

    def __init__(self, adapter: ChannelAdapter[Any]) -> None:
        self._adapter = adapter

    async def messages(self, places: Sequence[tuple[int, object]], bodies: Sequence[Body]) -> list[InputMessage]:
        """One input per message, after the results of tool calls that came along with it."""
        found: list[InputMessage] = []
        for (seq, _), body in zip(places, bodies, strict=True):
            found += _results(2 * seq, body)
            found.append(
                InputMessage(
                    seq=2 * seq,
                    text=_text(body),
                    speaker=body.sender_name if body.group else "",
                    images=await self._images(body),
                    role="tool" if body.tool_call_id else "user",
                    tool_call_id=body.tool_call_id,
                )
            )
        return found

    async def _images(self, body: Body) -> tuple[Image, ...]:
        found = []
        for stored in body.attachments[:MOST_IMAGES]:
            attachment = unpack_attachment(stored)
            if attachment.kind is not AttachmentKind.IMAGE:
                continue
            if attachment.url.startswith("data:image/"):
                found.append(Image(url=attachment.url))
                continue
            try:
                fetched = await self._adapter.fetch(attachment, max_bytes=IMAGE_BYTES)
            except (ChannelError, NotImplementedError) as error:
                log.warning("image_not_fetched", reason=type(error).__name__)
                continue
            if fetched.data:
                encoded = base64.b64encode(fetched.data).decode()
                found.append(Image(url=f"data:{fetched.media_type or 'image/jpeg'};base64,{encoded}"))
        return tuple(found)


def _results(seq: int, body: Body) -> list[InputMessage]:
    """Results are no lines of memory, so they need no number of their own."""
    given = body.options.get("results", ())
    return [InputMessage(seq=seq, text=item["text"], role="tool", tool_call_id=item["id"]) for item in given]


def _text(body: Body) -> str:
    """The text, with a word for each file that is not an image."""
    marks = [
        f"[{item.get('kind', 'file')}: {item.get('name') or item.get('media_type') or 'unnamed'}]"
        for item in body.attachments
        if item.get("kind") != "image"
    ]
    return "\n".join([body.text, *marks]).strip() if marks else body.text


def input_options(bodies: Sequence[Body]) -> Options:
    """The last message's options."""
    found: Mapping[str, Any] = bodies[-1].options if bodies else {}
    if not found:
        return Options()
    history = found.get("history")
    return Options(
        history=None if history is None else [chat_message(item) for item in history],
        tools=[
            ToolSchema(name=t["name"], description=t.get("description", ""), parameters=t.get("parameters", {}))
            for t in found.get("tools", ())
        ],
        tool_choice=found.get("tool_choice"),
        max_tokens=found.get("max_tokens"),
        temperature=found.get("temperature"),
    )


def chat_message(item: Mapping[str, Any]) -> ChatMessage:
    """A message of the OpenAI wire format, its text parts joined."""
    content = item.get("content") or ""
    images: list[Image] = []
    if not isinstance(content, str):
        images = [Image(url=part["image_url"]["url"]) for part in content if part.get("type") == "image_url"]
        content = "\n".join(part.get("text", "") for part in content if part.get("type") == "text")
    calls = [
        ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"].get("arguments", ""))
        for call in item.get("tool_calls") or ()
    ]
    return ChatMessage(
        role=item["role"],
        text=content,
        images=images,
        tool_calls=calls,
        tool_call_id=item.get("tool_call_id", ""),
        name=item.get("name", ""),
    )
