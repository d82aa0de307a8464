"""What memory needs of the layer below, and the one way it names a sealed cell."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class CellRef:
    """Which cell a sealed value belongs to; it cannot be opened in any other place."""

    tenant_id: UUID
    purpose: str
    table: str
    column: str
    row_id: UUID


def cell(tenant_id: UUID, table: str, column: str, row_id: UUID) -> CellRef:
    """The cell of a memory table (or of Redis, under the table name `redis`)."""
    return CellRef(tenant_id, "memory", table, column, row_id)


class Vault(Protocol):
    """Seals what memory stores and prints tokens under the tenant's key."""

    async def load(self, tenant_id: UUID) -> None:
        """Bring the tenant's keys into the process; the other calls need it."""

    def seal(self, ref: CellRef, plaintext: bytes) -> bytes:
        """Encrypt for one cell."""

    def open(self, ref: CellRef, blob: bytes) -> bytes:
        """Decrypt what was sealed for this cell."""

    def blind(self, tenant_id: UUID, data: bytes) -> bytes:
        """A keyed hash, for keys that must not tell."""

    def lexemes(self, tenant_id: UUID, tokens: Iterable[str]) -> list[str]:
        """A keyed hash per token."""


class Pools(Protocol):
    """Connections by role, each in one transaction."""

    def app(self, tenant_id: UUID) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """As this tenant."""

    def queue(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Queue columns of all tenants."""
