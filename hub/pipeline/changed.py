"""What an operator changed, told to every process, so that none goes on with what it remembers."""

from dataclasses import dataclass
from typing import Literal, cast, get_args
from uuid import UUID

from tenants.redis import shared_key

CHANNEL = shared_key("changed")
Kind = Literal["connection", "agent", "key", "tenant"]


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is not as it was, or not at all any more. Whoever misses this forgets it after five seconds."""

    kind: Kind
    tenant_id: UUID
    id: UUID

    def pack(self) -> str:
        """As it travels."""
        return f"{self.kind} {self.tenant_id.hex} {self.id.hex}"

    @classmethod
    def unpack(cls, text: str) -> "Change":
        """What `pack` made; raises ValueError for anything else."""
        kind, tenant_id, ident = text.split(" ")
        if kind not in get_args(Kind):
            raise ValueError(f"nothing of the kind {kind!r} is remembered")
        return cls(cast(Kind, kind), UUID(hex=tenant_id), UUID(hex=ident))
