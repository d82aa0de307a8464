"""Inbound events as rows of the accept statement: hashed, sealed, with ids minted here."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from channels_adapters.types import Address, InboundMessage, MessageDeleted, MessageEdited
from hub.ledger.accept import Accept
from hub.pipeline.bodies import Body, body_cell, clean, pack, pack_address, pack_attachment
from hub.pipeline.connections import LiveConnection
from hub.pipeline.places import Places
from memory.tokens import estimate_tokens
from tenants.crypto import CellRef, Vault
from tenants.ids import uuid7

_RECENT = 8192
_RECENT_CHARS = 16 << 20
_KNOWN_CONTACTS = 50_000


class Recent:
    """Bodies that this process has just stored, so that its runner need not read and open them again."""

    def __init__(self, most: int = _RECENT, most_chars: int = _RECENT_CHARS) -> None:
        self._bodies: OrderedDict[UUID, Body] = OrderedDict()
        self._most = most
        self._most_chars = most_chars
        self._chars = 0

    def put(self, message_id: UUID, body: Body) -> None:
        """Remember a body until it is taken or too many came after it."""
        self._bodies[message_id] = body
        self._chars += len(body.text)
        while self._bodies and (len(self._bodies) > self._most or self._chars > self._most_chars):
            _, gone = self._bodies.popitem(last=False)
            self._chars -= len(gone.text)

    def take(self, message_id: UUID) -> Body | None:
        """The body, once."""
        body = self._bodies.pop(message_id, None)
        if body is not None:
            self._chars -= len(body.text)
        return body


class Rows:
    """Makes rows for one process; remembers what it has just sealed, and which contacts exist."""

    def __init__(self, vault: Vault, recent: Recent, places: Places) -> None:
        self._vault, self._places = vault, places
        self.recent = recent
        self._contacts: OrderedDict[UUID, None] = OrderedDict()

    def address_hash(self, connection: LiveConnection, address: Address) -> bytes:
        """What makes two addresses the same session; the tenant's keys must be loaded."""
        place = f"address\0{connection.id_text}\0{address.conversation}\0{address.thread}"
        return self._vault.blind(connection.tenant_id, place.encode())

    def key_hash(self, connection: LiveConnection, key: str) -> bytes:
        """What makes two deliveries the same message; the tenant's keys must be loaded."""
        return self._vault.blind(connection.tenant_id, f"message\0{connection.id_text}\0{clean(key)}".encode())

    def contact_id(self, connection: LiveConnection, external_id: str) -> UUID:
        """A contact's id: a keyed hash, so that it needs no look-up; the tenant's keys must be loaded."""
        place = f"contact\0{connection.id_text}\0{external_id}"
        return UUID(bytes=self._vault.blind(connection.tenant_id, place.encode()))

    def row(
        self,
        connection: LiveConnection,
        event: InboundMessage | MessageEdited | MessageDeleted,
        key: str,
        *,
        body: Body | None = None,
        role: str = "user",
        ephemeral: bool = False,
        runner: UUID | None = None,
    ) -> Accept:
        """The event as a row of the accept statement, sealed. The tenant's keys must be loaded."""
        tenant_id, message_id, session_id, turn_id = connection.tenant_id, uuid7(), uuid7(), uuid7()
        address_hash = self.address_hash(connection, event.address)
        self.recent.put(message_id, body := body or body_of(event))
        contact = self._contact(connection, _sender(event), body.sender_name)
        return Accept(
            message_id=message_id,
            tenant_id=tenant_id,
            connection_id=connection.id,
            key_hash=self.key_hash(connection, key),
            session_id=session_id,
            address_hash=address_hash,
            address=self._address(tenant_id, session_id, body.address or pack_address(event.address)),
            agent_id=connection.agent_id,
            **contact,
            subject_id=session_id if isinstance(event, InboundMessage) and event.group else contact["contact_id"],
            body=self._vault.seal(body_cell(tenant_id, message_id), pack(body)),
            role=role,
            tokens=estimate_tokens(body.text),
            answer=isinstance(event, InboundMessage) and event.addressed,
            merge=connection.merge,
            debounce_ms=connection.debounce_ms,
            turn_id=turn_id,
            refusal=connection.refusal,
            runner=runner if connection.at_once else None,
            ephemeral=ephemeral,
            known=self._places.get(connection.id, address_hash) is not None,
        )

    def _address(self, tenant_id: UUID, session_id: UUID, packed: Mapping[str, Any]) -> bytes:
        cell = CellRef(tenant_id, "content", "session", "address", session_id)
        return self._vault.seal(cell, orjson.dumps(packed))

    def _contact(self, connection: LiveConnection, external: str, name: str) -> dict[str, Any]:
        """A contact's id and what is sealed of it, nothing where it is known to exist."""
        contact_id = self.contact_id(connection, external)
        if contact_id in self._contacts:
            return {"contact_id": contact_id, "contact_external": None, "contact_name": None}
        return {
            "contact_id": contact_id,
            "contact_external": self._sealed(connection.tenant_id, contact_id, "external", external),
            "contact_name": self._sealed(connection.tenant_id, contact_id, "name", name),
        }

    def _sealed(self, tenant_id: UUID, contact_id: UUID, column: str, value: str) -> bytes:
        return self._vault.seal(CellRef(tenant_id, "content", "contact", column, contact_id), clean(value).encode())

    def know(self, contact_id: UUID) -> None:
        """The contact's row exists: it need not be sent again."""
        self._contacts[contact_id] = None
        if len(self._contacts) > _KNOWN_CONTACTS:
            self._contacts.popitem(last=False)


def _sender(event: InboundMessage | MessageEdited | MessageDeleted) -> str:
    return "" if isinstance(event, MessageDeleted) else event.sender_id


def body_of(event: InboundMessage | MessageEdited | MessageDeleted) -> Body:
    """The event's content, cleaned."""
    if isinstance(event, MessageDeleted):
        return Body(external_id=clean(event.external_id), action="deleted")
    if isinstance(event, MessageEdited):
        return Body(text=clean(event.text), external_id=clean(event.external_id), action="edited")
    return Body(
        text=clean(event.text),
        attachments=[pack_attachment(item) for item in event.attachments],
        sender_name=clean(event.sender_name)[:200],
        external_id=clean(event.external_id),
        address=pack_address(event.address),
        action=clean(event.action),
        group=event.group,
    )
