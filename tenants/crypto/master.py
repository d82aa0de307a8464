"""The ring of master keys: one primary for new wrappings, others only to read what they wrapped."""

import base64
import binascii
import hashlib
import os
from uuid import UUID

from tenants.crypto import blob
from tenants.crypto.blob import Key
from tenants.crypto.suites import BY_CODE, SUITES
from tenants.errors import MasterKeyMissing

MASTER_BYTES = 32


class MasterKeys:
    """Wraps data keys. HUB_MASTER_KEY is one or more base64 keys of 32 bytes, by commas, the primary first."""

    def __init__(self, primary: bytes, *others: bytes) -> None:
        self._rings: dict[UUID, dict[str, Key]] = {}
        for secret in (primary, *others):
            if len(secret) != MASTER_BYTES:
                raise ValueError(f"a master key has {MASTER_BYTES} bytes, not {len(secret)}")
            key_id = UUID(bytes=hashlib.sha256(b"hub master key id\0" + secret).digest()[:16])
            self._rings[key_id] = {
                name: Key.of(key_id, name, suite.derive(secret, f"hub data key wrapping {name}".encode()))
                for name, suite in SUITES.items()
            }
        self.primary_id = next(iter(self._rings))

    @classmethod
    def parse(cls, text: str) -> "MasterKeys":
        """From the environment's form; raises ValueError that never repeats the key."""
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise ValueError("no master key is given")
        try:
            return cls(
                *(base64.b64decode(part, altchars=b"-_" if "-" in part or "_" in part else None) for part in parts)
            )
        except binascii.Error:
            raise ValueError("a master key is not valid base64") from None

    @staticmethod
    def generate() -> str:
        """A new random key in the environment's form."""
        return base64.b64encode(os.urandom(MASTER_BYTES)).decode()

    def __repr__(self) -> str:
        return f"MasterKeys({len(self._rings)} keys)"

    def wrap(self, secret: bytes, *, suite: str, aad: bytes) -> bytes:
        """Seal a data key under the primary."""
        return blob.seal(self._rings[self.primary_id][suite], secret, aad)

    def unwrap(self, wrapped: bytes, *, aad: bytes) -> bytes:
        """Open a data key; raises MasterKeyMissing or Tampered."""
        key_id = blob.key_id_of(wrapped)
        ring = self._rings.get(key_id)
        if ring is None:
            raise MasterKeyMissing(f"no master key of the ring has the id {key_id}; HUB_MASTER_KEY must list it")
        return blob.unseal(ring[BY_CODE[wrapped[3]].name], wrapped, aad)

    def is_primary(self, wrapped: bytes) -> bool:
        """Whether this is wrapped under the primary already."""
        return blob.key_id_of(wrapped) == self.primary_id
