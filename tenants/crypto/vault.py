"""Seal and open cells of tenants whose keys are in the process: loading asks the database, the rest is pure."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from tenants.context import tenant_scope
from tenants.crypto.keyring import INDEX, PURPOSES, CellRef, Keyring, KeyRow, new_key
from tenants.crypto.master import MasterKeys
from tenants.db.pools import Pools
from tenants.errors import KeyUnavailable

CACHE_SECONDS: Final = 60.0
_ROWS: Final = (
    "SELECT id, tenant_id, purpose, suite, wrapped, active_from, retired_at, clock_timestamp() "
    "FROM data_key WHERE tenant_id = %s"
)
# Two processes may meet a new tenant at once: the lock lets one of them make each key.
_LOCK: Final = "SELECT suite FROM tenant WHERE id = %s FOR UPDATE"
_INSERT: Final = "INSERT INTO data_key (id, tenant_id, purpose, suite, wrapped) VALUES (%s, %s, %s, %s, %s)"


class Vault:
    """Bounded cache of tenants' opened keys. `load` before a unit of work: a dictionary look-up while fresh."""

    def __init__(
        self, master: MasterKeys, pools: Pools | None = None, *, tenants: int = 4096, seconds: float = CACHE_SECONDS
    ) -> None:
        self.master = master
        self._pools = pools
        self._tenants = tenants
        self._seconds = seconds
        self._rings: OrderedDict[UUID, tuple[float, Keyring]] = OrderedDict()
        self._changing = threading.Lock()  # async tasks share a thread, Celery and sync_to_async do not

    async def load(self, tenant_id: UUID, *, fresh: bool = False) -> None:
        """Bring the tenant's keys into the cache, making them for a new tenant; raises MasterKeyMissing."""
        if not fresh and self._is_fresh(tenant_id):
            return
        if self._pools is None:
            raise KeyUnavailable("this vault was made without pools; use load_sync")
        async with self._pools.app(tenant_id) as conn:
            rows = await (await conn.execute(_ROWS, (tenant_id,))).fetchall()
            if _missing(rows):
                suite = await (await conn.execute(_LOCK, (tenant_id,))).fetchone()
                rows = await (await conn.execute(_ROWS, (tenant_id,))).fetchall()
                for insert in self._inserts(tenant_id, suite, rows):
                    await conn.execute(_INSERT, insert)
                rows = await (await conn.execute(_ROWS, (tenant_id,))).fetchall()
        self._keep(tenant_id, rows)

    def load_sync(self, tenant_id: UUID, *, fresh: bool = False) -> None:
        """As `load`, over Django's connection, for commands, the admin and Celery."""
        if not fresh and self._is_fresh(tenant_id):
            return
        with tenant_scope(tenant_id), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_ROWS, (tenant_id,))
            rows = cursor.fetchall()
            if _missing(rows):
                cursor.execute(_LOCK, (tenant_id,))
                suite = cursor.fetchone()
                cursor.execute(_ROWS, (tenant_id,))
                for insert in self._inserts(tenant_id, suite, cursor.fetchall()):
                    cursor.execute(_INSERT, insert)
                cursor.execute(_ROWS, (tenant_id,))
                rows = cursor.fetchall()
        self._keep(tenant_id, rows)

    def seal(self, ref: CellRef, plaintext: bytes) -> bytes:
        """Seal a cell of a loaded tenant; raises KeyUnavailable."""
        return self._ring(ref.tenant_id).seal(ref, plaintext)

    def open(self, ref: CellRef, blob: bytes) -> bytes:
        """Open a cell of a loaded tenant; raises Tampered or KeyUnavailable."""
        return self._ring(ref.tenant_id).open(ref, bytes(blob))

    def blind(self, tenant_id: UUID, data: bytes) -> bytes:
        """16 bytes for equality look-ups, the same in every process and after rotations."""
        return self._ring(tenant_id).blind(data)

    def lexemes(self, tenant_id: UUID, tokens: Iterable[str]) -> list[str]:
        """Keyed hashes of tokens for the lexical index, in the order of the tokens."""
        return self._ring(tenant_id).lexemes(tokens)

    def active_key(self, tenant_id: UUID, purpose: str) -> UUID:
        """The id of the key that new cells are sealed under."""
        return self._ring(tenant_id).active(purpose).id

    def forget(self, tenant_id: UUID) -> None:
        """Drop a tenant's keys from the cache: it was erased, or its keys were rotated here."""
        with self._changing:
            self._rings.pop(tenant_id, None)

    def _is_fresh(self, tenant_id: UUID) -> bool:
        with self._changing:
            entry = self._rings.get(tenant_id)
            if entry is None or time.monotonic() - entry[0] >= self._seconds:
                return False
            self._rings.move_to_end(tenant_id)
            return True

    def _ring(self, tenant_id: UUID) -> Keyring:
        entry = self._rings.get(tenant_id)
        if entry is None:
            raise KeyUnavailable(f"the keys of tenant {tenant_id} are not loaded")
        return entry[1]

    def _inserts(self, tenant_id: UUID, suite: Any, rows: Sequence[Any]) -> list[tuple[Any, ...]]:
        if suite is None:
            raise KeyUnavailable(f"there is no tenant {tenant_id}")
        inserts = []
        for purpose in _missing(rows):
            row_id, wrapped = new_key(self.master, tenant_id=tenant_id, purpose=purpose, suite=suite[0])
            inserts.append((row_id, tenant_id, purpose, suite[0], wrapped))
        return inserts

    def _keep(self, tenant_id: UUID, rows: Sequence[Any]) -> None:
        now = rows[0][7]
        key_rows = [KeyRow(row[0], row[1], row[2], row[3], bytes(row[4]), row[5], row[6]) for row in rows]
        ring = Keyring(self.master, key_rows, now=now)
        with self._changing:
            self._rings[tenant_id] = (time.monotonic(), ring)
            self._rings.move_to_end(tenant_id)
            while len(self._rings) > self._tenants:
                self._rings.popitem(last=False)


def _missing(rows: Sequence[Any]) -> list[str]:
    known = {row[2] for row in rows if row[6] is None}
    return [purpose for purpose in (*PURPOSES, INDEX) if purpose not in known]
