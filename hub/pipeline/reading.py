"""Sealed cells as Django code reads them: the admin, the operator's views and REST. One vault per process."""

from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from agents.models import Agent
from hub.models import Contact, Delivery, Message, Session, Turn, Upload, UploadChunk
from hub.pipeline.bodies import Body, body_cell, partial_cell, tool_texts_cell, unpack, unpack_partial
from tenants.crypto import CellRef, MasterKeys, Vault
from tenants.errors import TenantsError

UNREADABLE = Body(text="")


@lru_cache(maxsize=1)
def vault() -> Vault:
    """The vault of Django's side, over Django's connection."""
    return Vault(MasterKeys(*settings.HUB_ENV.master_keys()))


def message_body(row: Message) -> Body | None:
    """What a message says; None when its key was destroyed or the cell was tampered with."""
    opened = _open(body_cell(row.tenant_id, row.id), row.body)
    return None if opened is None else unpack(opened)


def session_title(row: Session) -> str:
    """The session's title, empty without one."""
    return _text(_title_cell(row), row.title)


def seal_title(row: Session, title: str) -> bytes:
    """A title, ready for the session's column."""
    vault().load_sync(row.tenant_id)
    return vault().seal(_title_cell(row), title.encode())


def contact_name(row: Contact) -> str:
    """How the platform calls this person, empty when it does not say."""
    return _text(CellRef(row.tenant_id, "content", "contact", "name", row.id), row.name)


def delivery_part(row: Delivery) -> dict[str, Any]:
    """The platform-shaped part of a delivery, empty when it cannot be read."""
    opened = _open(CellRef(row.tenant_id, "content", "delivery", "part", row.id), row.part)
    found: dict[str, Any] = {} if opened is None else orjson.loads(opened)
    return found


def upload_name(row: Upload) -> str:
    """A visitor's file name."""
    return _text(CellRef(row.tenant_id, "content", "upload", "name", row.id), row.name)


def upload_data(row: Upload) -> bytes | None:
    """A visitor's file; None when a piece is gone or cannot be read."""
    pieces = [
        _open(CellRef(row.tenant_id, "content", "upload_chunk", "data", chunk.id), chunk.data)
        for chunk in UploadChunk.objects.filter(upload_id=row.id).order_by("position")
    ]
    data = b"".join(piece for piece in pieces if piece is not None)
    return data if len(data) == row.size else None


def route_keys(row: Agent) -> list[str]:
    """The API keys of an agent's model routes, in their order."""
    opened = _open(CellRef(row.tenant_id, "credentials", "agent", "credentials", row.id), row.credentials)
    return [] if opened is None else list(orjson.loads(opened))


def _title_cell(row: Session) -> CellRef:
    return CellRef(row.tenant_id, "content", "session", "title", row.id)


def _text(cell: CellRef, blob: bytes | memoryview | None) -> str:
    opened = _open(cell, blob)
    return "" if opened is None else opened.decode("utf-8", "replace")


def _open(cell: CellRef, blob: bytes | memoryview | None) -> bytes | None:
    if not blob:
        return None
    load(cell.tenant_id)
    try:
        return vault().open(cell, bytes(blob))
    except TenantsError:
        # One cell that cannot be opened must not hide the rest of a page.
        return None


def load(tenant_id: UUID) -> None:
    """Bring a tenant's keys into this process; a dictionary look-up while they are fresh."""
    vault().load_sync(tenant_id)


def turn_partial(row: Turn) -> str:
    """What a running turn has said so far, as last saved (each second or 200 tokens)."""
    opened = _open(partial_cell(row.tenant_id, row.id), row.partial)
    return "" if opened is None else unpack_partial(opened)[1]


def tool_texts(row: Turn) -> list[tuple[str, str]]:
    """Arguments and result of each tool call of a turn's trace, in its order; empty when they cannot be read."""
    opened = _open(tool_texts_cell(row.tenant_id, row.id), row.tool_texts)
    return [] if opened is None else [(str(asked), str(said)) for asked, said in orjson.loads(opened)]
