"""One tenant's opened data keys, and what they do to a cell."""

import base64
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal
from uuid import UUID

from tenants.crypto import blob
from tenants.crypto.blob import Key
from tenants.crypto.master import MasterKeys
from tenants.crypto.suites import SUITES
from tenants.errors import KeyUnavailable
from tenants.ids import uuid7

Purpose = Literal["content", "credentials", "memory"]
PURPOSES: Final = ("content", "credentials", "memory")
INDEX: Final = "index"  # keyed hashes; never rotated, else nothing would be found again
LEXEME_CHARS: Final = 11


@dataclass(frozen=True, slots=True)
class CellRef:
    """Where a sealed value lives; a blob opens nowhere else."""

    tenant_id: UUID
    purpose: Purpose
    table: str
    column: str
    row_id: UUID | str

    def aad(self) -> bytes:
        """What the seal is bound to. Table and column names have no separators in them."""
        return f"hub|{_text(self.tenant_id)}|{self.purpose}|{self.table}|{self.column}|{self.row_id}".encode()


_text = lru_cache(maxsize=4096)(str)
"""A tenant's id as text: each of its cells needs it."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A row of `data_key`."""

    id: UUID
    tenant_id: UUID
    purpose: str
    suite: str
    wrapped: bytes
    active_from: datetime
    retired_at: datetime | None


def wrapping_aad(row_id: UUID, tenant_id: UUID, purpose: str) -> bytes:
    """What a wrapped data key is bound to."""
    return f"hub|data_key|{row_id}|{tenant_id}|{purpose}".encode()


def new_key(master: MasterKeys, *, tenant_id: UUID, purpose: str, suite: str) -> tuple[UUID, bytes]:
    """A fresh random data key: its id and its wrapped form."""
    row_id = uuid7()
    secret = os.urandom(SUITES[suite].key_bytes)
    return row_id, master.wrap(secret, suite=suite, aad=wrapping_aad(row_id, tenant_id, purpose))


class Keyring:
    """The keys of one tenant: by id for reading, the newest active one of each purpose for writing."""

    def __init__(self, master: MasterKeys, rows: Sequence[KeyRow], *, now: datetime) -> None:
        self._keys: dict[UUID, Key] = {}
        self._purposes: dict[UUID, str] = {}
        self._active: dict[str, Key] = {}
        for row in sorted(rows, key=lambda row: (row.active_from, row.id)):
            secret = master.unwrap(row.wrapped, aad=wrapping_aad(row.id, row.tenant_id, row.purpose))
            key = Key.of(row.id, row.suite, secret)
            self._keys[row.id] = key
            self._purposes[row.id] = row.purpose
            if row.retired_at is None and row.active_from <= now:
                self._active[row.purpose] = key

    def active(self, purpose: str) -> Key:
        """The key for new writes."""
        key = self._active.get(purpose)
        if key is None:
            raise KeyUnavailable(f"the tenant has no active key for {purpose}")
        return key

    def seal(self, ref: CellRef, plaintext: bytes) -> bytes:
        """Seal a cell under the active key of its purpose."""
        return blob.seal(self.active(ref.purpose), plaintext, ref.aad())

    def open(self, ref: CellRef, sealed: bytes) -> bytes:
        """Open a cell; raises Tampered, or KeyUnavailable for a key that came after this ring was loaded."""
        key_id = blob.key_id_of(sealed)
        key = self._keys.get(key_id)
        if key is None or self._purposes[key_id] != ref.purpose:
            raise KeyUnavailable(f"the key {key_id} is not loaded for {ref.purpose}")
        return blob.unseal(key, sealed, ref.aad())

    def blind(self, data: bytes) -> bytes:
        """16 bytes that equal values share within the tenant, and that say nothing without the key."""
        key = self.active(INDEX)
        return key.suite.mac(key.secret, b"blind\0" + data)[:16]

    def lexemes(self, tokens: Iterable[str]) -> list[str]:
        """Keyed hashes of tokens: a letter and 11 of [a-z2-7], which tsvector('simple') keeps as one word."""
        key = self.active(INDEX)
        mac, secret = key.suite.mac, key.secret
        return [
            "x" + base64.b32encode(mac(secret, b"lexeme\0" + token.encode())[:8])[:LEXEME_CHARS].decode().lower()
            for token in tokens
        ]
