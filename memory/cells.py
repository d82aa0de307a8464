"""The one way memory names a sealed cell."""

from uuid import UUID

from tenants.crypto import CellRef


def cell(tenant_id: UUID, table: str, column: str, row_id: UUID) -> CellRef:
    """The cell of a memory table (or of Redis, under the table name `redis`)."""
    return CellRef(tenant_id, "memory", table, column, row_id)
