"""What memory holds of a session or a subject, in the clear, and its erasure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hub.cli.output import CommandFailed
from hub.pipeline.forgetting import forget
from memory.cells import cell
from memory.models import MemoryBatch, MemoryLine, Summary
from memory.packing import unpack_lines
from memory.store import open_line
from tenants.context import tenant_scope

if TYPE_CHECKING:
    from memory.types import Line
    from tenants.crypto import Vault

PAGE = 200


@dataclass(frozen=True, slots=True)
class Whose:
    """One session's memory, or all of a subject's (a person, a contact or a group)."""

    tenant_id: UUID
    session_id: UUID | None = None
    subject_id: UUID | None = None

    @property
    def filters(self) -> dict[str, UUID]:
        """For the ORM: what its rows have in common."""
        if self.session_id is not None:
            return {"session_id": self.session_id}
        if self.subject_id is None:
            raise CommandFailed("name a session or a subject")
        return {"subject_id": self.subject_id}


def counts(whose: Whose) -> dict[str, int]:
    """How much there is."""
    with tenant_scope(whose.tenant_id):
        return {
            "lines": MemoryLine.objects.filter(**whose.filters).count(),
            "summaries": Summary.objects.filter(**whose.filters).count(),
            "waiting": MemoryBatch.objects.filter(**whose.filters, state="claimed").count(),
        }


def summaries(whose: Whose, vault: "Vault", *, with_lines: bool = False) -> Iterator[dict[str, Any]]:
    """The summaries in the order they were made, page by page; `with_lines` adds every line that one holds."""
    vault.load_sync(whose.tenant_id)
    after = UUID(int=0)
    while True:
        with tenant_scope(whose.tenant_id):
            rows = list(Summary.objects.filter(**whose.filters, id__gt=after).order_by("id")[:PAGE])
        for row in rows:
            yield _summary(row, vault, with_lines=with_lines)
        if len(rows) < PAGE:
            return
        after = rows[-1].id


def lines(whose: Whose, vault: "Vault") -> Iterator[dict[str, Any]]:
    """The lines that no summary holds yet, or that continuity keeps, in order, page by page."""
    vault.load_sync(whose.tenant_id)
    after = UUID(int=0)
    while True:
        with tenant_scope(whose.tenant_id):
            rows = list(MemoryLine.objects.filter(**whose.filters, id__gt=after).order_by("id")[:PAGE])
        for row in rows:
            found = open_line(vault, whose.tenant_id, (row.id, row.seq, row.role, row.body, row.said_at))
            yield {"session_id": str(row.session_id), "summarised": row.done, **_line(found)}
        if len(rows) < PAGE:
            return
        after = rows[-1].id


def erase(whose: Whose) -> dict[str, int]:
    """Delete it all for good, and make every process read again; what is stored as messages stays."""
    with tenant_scope(whose.tenant_id):
        return forget(whose.tenant_id, **whose.filters)


def _summary(row: Summary, vault: "Vault", *, with_lines: bool) -> dict[str, Any]:
    text = vault.open(cell(row.tenant_id, "summary", "text", row.id), bytes(row.text)).decode()
    found: dict[str, Any] = {
        "id": str(row.id),
        "session_id": str(row.session_id),
        "subject_id": str(row.subject_id),
        "first_seq": row.first_seq,
        "last_seq": row.last_seq,
        "by_model": row.by_model,
        "created": row.created.isoformat(),
        "text": text,
    }
    if with_lines:
        packed = vault.open(cell(row.tenant_id, "summary", "body", row.id), bytes(row.body))
        found["lines"] = [_line(line) for line in unpack_lines(packed)]
    return found


def _line(line: "Line") -> dict[str, Any]:
    return {
        "seq": line.seq,
        "role": line.role,
        "speaker": line.speaker,
        "text": line.text,
        "at": line.at.isoformat() if line.at else None,
    }
