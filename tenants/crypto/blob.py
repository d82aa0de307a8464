"""The one format of all that is sealed: magic 2, version 1, algorithm 1, key id 16, nonce 12, ciphertext, tag 16."""

import os
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tenants.crypto.suites import BY_CODE, NONCE_BYTES, SUITES, TAG_BYTES, Aes256Gcm, Sm4Gcm, Suite
from tenants.errors import Tampered

MAGIC: Final = b"HB"
VERSION: Final = 1
_HEADER: Final = 4 + 16
OVERHEAD: Final = _HEADER + NONCE_BYTES + TAG_BYTES
KEY_ID: Final = slice(4, 20)


@dataclass(frozen=True, slots=True)
class Key:
    """A key ready for use, with the id that its blobs carry."""

    id: UUID
    suite: Suite
    secret: bytes
    cipher: Aes256Gcm | Sm4Gcm
    header: bytes
    """What each of its blobs begins with."""

    @classmethod
    def of(cls, key_id: UUID, suite: str, secret: bytes) -> "Key":
        """Set up the cipher once, not per cell."""
        chosen = SUITES[suite]
        header = MAGIC + bytes((VERSION, chosen.code)) + key_id.bytes
        return cls(id=key_id, suite=chosen, secret=secret, cipher=chosen.cipher(secret), header=header)

    def __repr__(self) -> str:
        return f"Key({self.id}, {self.suite.name})"


def seal(key: Key, plaintext: bytes, aad: bytes) -> bytes:
    """Encrypt; the header is authenticated with the associated data."""
    nonce = os.urandom(NONCE_BYTES)
    return key.header + nonce + key.cipher.encrypt(nonce, plaintext, key.header + aad)


def key_id_of(blob: bytes) -> UUID:
    """Which key sealed this; raises Tampered for what is no blob of ours."""
    if len(blob) < OVERHEAD or blob[:2] != MAGIC or blob[2] != VERSION or blob[3] not in BY_CODE:
        raise Tampered("this is not a sealed blob")
    return UUID(bytes=bytes(blob[KEY_ID]))


def unseal(key: Key, blob: bytes, aad: bytes) -> bytes:
    """Decrypt with the key that `key_id_of` named; raises Tampered."""
    header, body = blob[:_HEADER], blob[_HEADER:]
    if header != key.header:
        raise Tampered("the blob's header is not its key's")
    return key.cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], header + aad)
