"""Addresses of visitors' files: signed for one file and a day, so that a page can show them without a header."""

import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from django.core.signing import BadSignature, Signer

from hub.pipeline.uploads import upload_id

LIFE_SECONDS: Final = 24 * 3600
STEP_SECONDS: Final = 6 * 3600
"""An address stays the same for so long, for the sake of caches."""
_SALT: Final = "hub.edges.upload"


def address_of(public_id: str, upload: UUID) -> str:
    """Where the file opens, for a day at least."""
    ends = (int(time.time()) // STEP_SECONDS + 1) * STEP_SECONDS + LIFE_SECONDS
    key = _signer().sign(f"{public_id}.{upload.hex}.{ends}").rpartition(":")[2]
    return f"/sse/chat/{public_id}/uploads/{upload}?key={ends}.{key}"


def opens(public_id: str, upload: UUID, key: str) -> bool:
    """Whether `key` is one of ours for this file and not over."""
    ends, _, signature = key.partition(".")
    if len(key) > 100 or not key.isascii() or not ends.isdigit() or int(ends) < time.time():
        return False
    try:
        _signer().unsign(f"{public_id}.{upload.hex}.{ends}:{signature}")
    except BadSignature:
        return False
    return True


def show_message(message: Mapping[str, Any], public_id: str) -> Mapping[str, Any]:
    """A stored message as its visitor gets it: uploads have an id and an address."""
    attachments = message.get("attachments")
    if not attachments:
        return message
    return {**message, "attachments": [_attachment(item, public_id) for item in attachments]}


def _attachment(item: Mapping[str, Any], public_id: str) -> dict[str, Any]:
    found = {name: value for name, value in item.items() if name != "platform_id"}
    ident = upload_id(item.get("platform_id", ""))
    if ident is not None:
        found |= {"upload": str(ident), "url": address_of(public_id, ident)}
    return found


def _signer() -> Signer:
    return Signer(salt=_SALT, algorithm="sha256")
