"""What a visitor's message becomes: its form checked, its files bound, and what it says anew found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from channels_adapters.types import Attachment
from hub.edges import looks
from hub.edges.frames import Say
from hub.edges.guard import Refused
from hub.pipeline.pages import NotEditable, Original
from hub.pipeline.uploads import UploadUnknown, upload_id

if TYPE_CHECKING:
    from hub.edges.visit import Visit


async def composed(visit: "Visit", say: Say) -> dict[str, Any]:
    """The fields of the utterance. Raises Refused, Unavailable."""
    form = _form(visit, say)
    original = await _original(visit, say, say.edits) if say.edits is not None else None
    text, attachments = await _content(visit, say, original)
    return {
        "conversation": visit.visitor.conversation,
        "sender_id": visit.visitor.id,
        "sender_name": visit.name or form.get("name", ""),
        "client_id": say.client_id,
        "text": text,
        "attachments": attachments,
        "edits": {"id": str(original.id), "seq": original.seq} if original else None,
        "form": form,
    }


def _form(visit: "Visit", say: Say) -> dict[str, str]:
    options = looks.options_of(visit.connection)
    if visit.session_id is not None or not options.form:
        return {}
    return looks.check_form(options, say.form, asked=not visit.visitor.known)


async def _original(visit: "Visit", say: Say, edits: UUID) -> Original | None:
    """The message to say anew; its answer, if one is being written, ends. None for what was stored already."""
    if visit.session_id is None:
        raise Refused(404, "unknown_message", "there is no such message in this conversation", param="edits")
    if await visit.chat.said(visit.connection, visit.visitor.conversation, say.client_id):
        return None
    tenant_id, pages = visit.connection.tenant_id, visit.chat.pages
    try:
        original = await pages.original(tenant_id, visit.session_id, edits)
    except NotEditable as refusal:
        status = 404 if refusal.code == "unknown_message" else 409
        raise Refused(status, refusal.code, "this message cannot be said anew", param="edits") from None
    await visit.chat.stop(tenant_id, visit.session_id)
    await pages.take_back(tenant_id, visit.session_id, original)
    return original


async def _content(visit: "Visit", say: Say, original: Original | None) -> tuple[str, Sequence[Attachment]]:
    if original is None or say.text.strip() or say.attachments or say.uploads:
        return say.text, [*say.attachments, *await _bind(visit, say.client_id, say.uploads)]
    files = [item for item in original.attachments if upload_id(item.platform_id) is None]
    kept = [ident for item in original.attachments if (ident := upload_id(item.platform_id)) is not None]
    return original.body.text, [*files, *await _bind(visit, say.client_id, kept)]


async def _bind(visit: "Visit", client_id: str, uploads: Sequence[UUID]) -> list[Attachment]:
    try:
        return await visit.chat.bind(
            visit.connection,
            conversation=visit.visitor.conversation,
            sender_id=visit.visitor.id,
            client_id=client_id,
            uploads=uploads,
        )
    except UploadUnknown:
        raise Refused(404, "unknown_upload", "a file of this message is not here", param="attachments") from None
