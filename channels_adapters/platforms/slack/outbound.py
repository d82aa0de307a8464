"""Replies as Slack messages: https://docs.slack.dev/reference/methods/chat.postMessage"""

import base64
import hashlib
from collections.abc import Mapping, Sequence

from channels_adapters import markup
from channels_adapters.types import Attachment, Part, QuickReply, Reply

TEXT_LIMIT = 4000
SECTION_LIMIT = 3000
BUTTONS = 25
LABEL_LIMIT = 75
VALUE_LIMIT = 2000


def parts(reply: Reply) -> list[Part]:
    """Text in as many messages as it needs, the buttons under the last one, then one message per file."""
    shown, listed = _choices(reply.quick_replies)
    source = "\n".join([reply.text, *([""] if listed else []), *(f"- {choice.label}" for choice in listed)])
    made = [
        Part(kind="text", payload={"text": piece.markup, "markdown": piece.source}, text=piece.plain)
        for piece in markup.pieces(source, markup.SLACK, limit=TEXT_LIMIT)
    ]
    if shown:
        made = [*made[:-1], *_with_buttons(made[-1:], shown)]
    return [*made, *(_file(attachment) for attachment in reply.attachments)]


def _choices(choices: Sequence[QuickReply]) -> tuple[list[QuickReply], list[QuickReply]]:
    fitting = [choice for choice in choices if choice.label and 0 < len(choice.value) <= VALUE_LIMIT]
    shown = fitting[:BUTTONS]
    return shown, [choice for choice in choices if choice not in shown]


def _with_buttons(last: Sequence[Part], choices: Sequence[QuickReply]) -> list[Part]:
    """Blocks replace the text on screen, so the text becomes a section; one that is too long stays a message before."""
    buttons = [_button(choice, index) for index, choice in enumerate(choices)]
    actions = {"type": "actions", "block_id": "quick_replies", "elements": buttons}
    if last and len(str(last[0].payload["text"])) <= SECTION_LIMIT:
        section = {"type": "section", "text": {"type": "mrkdwn", "text": last[0].payload["text"]}}
        payload = {**last[0].payload, "blocks": [section, actions]}
        return [Part(kind="text", payload=payload, text=last[0].text)]
    labels = " · ".join(choice.label for choice in choices)
    alone = Part(kind="text", payload={"text": labels, "markdown": labels, "blocks": [actions]}, text=labels)
    return [*last, alone]


def _button(choice: QuickReply, index: int) -> dict[str, object]:
    label = choice.label if len(choice.label) <= LABEL_LIMIT else choice.label[: LABEL_LIMIT - 1] + "…"
    text = {"type": "plain_text", "text": label, "emoji": True}
    return {"type": "button", "action_id": f"quick_reply_{index}", "text": text, "value": choice.value}


def _file(attachment: Attachment) -> Part:
    name = attachment.name or "file"
    if attachment.data is None:
        text = f"<{attachment.url}|{name}>" if attachment.url else name
        return Part(kind="text", payload={"text": text, "markdown": f"[{name}]({attachment.url})"}, text=name)
    data = base64.b64encode(attachment.data).decode()
    return Part(kind="file", payload={"name": name, "data": data, "media_type": attachment.media_type}, text=name)


# ---- what a stream has sent so far: enough to know the rest, without keeping the text -------------------------------


def progress(text: str) -> Mapping[str, str]:
    """How far a stream has come."""
    return {"mode": "append", "length": str(len(text)), "digest": _digest(text)}


def rest_of(text: str, extra: Mapping[str, str]) -> str | None:
    """What is still to append; None when it no longer begins with what was sent, or nobody knows how much was."""
    if "stale" in extra:
        return None
    length = int(extra["length"])
    return text[length:] if _digest(text[:length]) == extra["digest"] else None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
