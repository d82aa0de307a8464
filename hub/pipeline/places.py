"""Where this process last saw its sessions: enough to guess the turn that a message will get.

Only a guess: the accept statement decides, and what does not fit is thrown away.
"""

from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from hub.ledger.accept import Accept, Accepted

_MOST = 50_000


@dataclass(slots=True)
class Place:
    """A session as of its last accept or commit here."""

    session_id: UUID
    subject_id: UUID
    agent_id: UUID
    seq: int
    version: int


class Places:
    """Bounded, by address and by session."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[tuple[UUID, bytes], Place] = OrderedDict()
        self._by_session: dict[UUID, tuple[UUID, bytes]] = {}

    def get(self, connection_id: UUID, address_hash: bytes) -> Place | None:
        """The session of an address, if it was seen here."""
        return self._by_address.get((connection_id, address_hash))

    def accepted(self, row: Accept, result: Accepted) -> None:
        """A message was stored."""
        address = (row.connection_id, row.address_hash)
        self._by_address[address] = Place(
            result.session_id, result.subject_id, result.agent_id, result.seq, result.version
        )
        self._by_address.move_to_end(address)
        self._by_session[result.session_id] = address
        if len(self._by_address) > _MOST:
            _, gone = self._by_address.popitem(last=False)
            self._by_session.pop(gone.session_id, None)

    def committed(self, session_id: UUID, *, seq: int, version: int) -> None:
        """A reply was stored."""
        address = self._by_session.get(session_id)
        if address is not None and address in self._by_address:
            place = self._by_address[address]
            place.seq, place.version = max(place.seq, seq), version
