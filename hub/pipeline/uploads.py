"""Files of chat visitors: sealed in bounded pieces, counted against the tenant's storage, kept once they are named.

A crash leaves an `arriving` row at worst. What no stored message names is collected after a day: before a message is
accepted the file is bound to the message's key, and a bound file whose key never came to exist is as good as unnamed.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from channels_adapters.types import Attachment, AttachmentKind
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import Unavailable
from hub.pipeline.inbox import AWAY
from tenants.crypto import CellRef, Vault
from tenants.db.pools import Pools
from tenants.ids import uuid7

CHUNK_BYTES: Final = 128 * 1024
VISITOR_BYTES: Final = 100 << 20
CONNECTION_BYTES: Final = 5 << 30
"""Within a day."""
KEEP_HOURS: Final = 24
COLLECT_BATCH: Final = 200
SCHEME: Final = "upload:"
"""What the platform id of an attachment begins with that is stored here."""

_SPEND = """
UPDATE quota SET used = used + %(size)s WHERE tenant_id = %(tenant)s AND metric = 'storage_bytes'
  AND (coalesce(override, limit_value) < 0 OR used + %(size)s <= coalesce(override, limit_value)) RETURNING id
"""
_GIVE_BACK = """
UPDATE quota SET used = greatest(used - %(size)s, 0) WHERE tenant_id = %(tenant)s AND metric = 'storage_bytes'
"""
_RECENT = """
SELECT coalesce(sum(size), 0), coalesce(sum(size) FILTER (WHERE owner = %s), 0) FROM upload
WHERE connection_id = %s AND created > now() - interval '1 day'
"""
_INSERT = """
INSERT INTO upload (id, tenant_id, connection_id, owner, name, media_type, size, status, created)
VALUES (%s, %s, %s, %s, %s, %s, %s, 'arriving', now())
"""
_CHUNK = "INSERT INTO upload_chunk (id, tenant_id, upload_id, position, data) VALUES (%s, %s, %s, %s, %s)"
_READY = "UPDATE upload SET status = 'ready' WHERE id = %s AND status = 'arriving' RETURNING id"
_FIND = "SELECT id, connection_id, owner, name, media_type, size FROM upload WHERE id = %s AND status = 'ready'"
_READ = "SELECT id, data FROM upload_chunk WHERE upload_id = %s AND position = %s"
# A file may be said again (an edit, a retry): it stays bound to a message that exists.
_BIND = """
UPDATE upload u SET key_hash = CASE
    WHEN EXISTS (SELECT 1 FROM message_key k WHERE k.connection_id = u.connection_id AND k.key_hash = u.key_hash)
    THEN u.key_hash ELSE %(key)s END
WHERE u.id = ANY (%(ids)s) AND u.connection_id = %(connection)s AND u.owner = %(owner)s AND u.status = 'ready'
RETURNING u.id, u.connection_id, u.owner, u.name, u.media_type, u.size
"""
_UNNAMED = """
SELECT u.id FROM upload u
WHERE u.tenant_id = %(tenant)s AND u.created < now() - make_interval(hours => %(hours)s)
  AND (u.status <> 'ready' OR u.key_hash IS NULL OR (u.created > now() - interval '30 days' AND NOT EXISTS (
      SELECT 1 FROM message_key k WHERE k.connection_id = u.connection_id AND k.key_hash = u.key_hash)))
ORDER BY u.created LIMIT %(most)s FOR UPDATE
"""
_DROP_CHUNKS = "DELETE FROM upload_chunk WHERE upload_id = ANY (%s)"
_DROP = "WITH gone AS (DELETE FROM upload WHERE id = ANY (%s) RETURNING size) SELECT coalesce(sum(size), 0) FROM gone"
_HAND_OVER = "UPDATE upload SET owner = %s WHERE connection_id = %s AND owner = %s"


class UploadRefused(Exception):
    """No file of this size is taken now; `code` is `storage_full` or `upload_quota`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class UploadUnknown(Exception):
    """A message names a file that is not its visitor's, or is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUpload:
    """A whole file's description."""

    id: UUID
    connection_id: UUID
    owner: bytes
    name: str
    media_type: str
    size: int

    @property
    def kind(self) -> AttachmentKind:
        """What it is to a person."""
        return kind_of(self.media_type)

    def attachment(self) -> Attachment:
        """As a message carries it."""
        return Attachment(
            kind=self.kind,
            name=self.name,
            media_type=self.media_type,
            size=self.size,
            platform_id=f"{SCHEME}{self.id.hex}",
        )


def kind_of(media_type: str) -> AttachmentKind:
    """What a media type is to a person."""
    kinds = {"image": AttachmentKind.IMAGE, "audio": AttachmentKind.AUDIO, "video": AttachmentKind.VIDEO}
    return kinds.get(media_type.partition("/")[0], AttachmentKind.FILE)


def upload_id(platform_id: str) -> UUID | None:
    """The file that an attachment's platform id names, if it is stored here."""
    return UUID(hex=platform_id.removeprefix(SCHEME)) if platform_id.startswith(SCHEME) else None


class Uploads:
    """One per process. Every method raises Unavailable while the database stores nothing."""

    def __init__(self, pools: Pools, vault: Vault) -> None:
        self._pools = pools
        self._vault = vault

    async def owner(self, connection: LiveConnection, visitor: str) -> bytes:
        """What stands for a visitor beside the file."""
        await self._load(connection.tenant_id)
        return owner_of(self._vault, connection, visitor)

    async def begin(
        self, connection: LiveConnection, visitor: str, *, name: str, media_type: str, size: int
    ) -> StoredUpload:
        """Set the space aside and note the file. Raises UploadRefused."""
        owner, ident, tenant_id = await self.owner(connection, visitor), uuid7(), connection.tenant_id
        sealed = self._vault.seal(_cell(tenant_id, "upload", "name", ident), name.encode())
        try:
            async with self._pools.app(tenant_id) as conn:
                # The quota's row comes first: it makes the sums below exact among uploads of the tenant.
                spent = await conn.execute(_SPEND, {"tenant": tenant_id, "size": size})
                if await spent.fetchone() is None:
                    raise UploadRefused("storage_full")
                row: Any = await (await conn.execute(_RECENT, (owner, connection.id))).fetchone()
                if row[0] + size > CONNECTION_BYTES or row[1] + size > VISITOR_BYTES:
                    raise UploadRefused("upload_quota")
                values = (ident, tenant_id, connection.id, owner, sealed, media_type, size)
                await conn.execute(_INSERT, values)
        except AWAY as error:
            raise Unavailable from error
        return StoredUpload(
            id=ident, connection_id=connection.id, owner=owner, name=name, media_type=media_type, size=size
        )

    async def write(self, tenant_id: UUID, upload: UUID, position: int, data: bytes) -> None:
        """Store one piece of at most CHUNK_BYTES."""
        await self._load(tenant_id)
        ident = uuid7()
        sealed = self._vault.seal(_cell(tenant_id, "upload_chunk", "data", ident), data)
        try:
            async with self._pools.app(tenant_id) as conn:
                await conn.execute(_CHUNK, (ident, tenant_id, upload, position, sealed))
        except AWAY as error:
            raise Unavailable from error

    async def finish(self, tenant_id: UUID, upload: UUID) -> None:
        """All pieces are here. Raises UploadUnknown when it was collected meanwhile."""
        try:
            async with self._pools.app(tenant_id) as conn:
                done = await (await conn.execute(_READY, (upload,))).fetchone()
        except AWAY as error:
            raise Unavailable from error
        if done is None:
            raise UploadUnknown

    async def drop(self, tenant_id: UUID, uploads: Sequence[UUID]) -> int:
        """Delete files and give their space back; returns the bytes."""
        try:
            async with self._pools.app(tenant_id) as conn:
                return await _drop(conn, tenant_id, uploads)
        except AWAY as error:
            raise Unavailable from error

    async def bind(
        self, connection: LiveConnection, visitor: str, uploads: Sequence[UUID], *, key_hash: bytes
    ) -> list[Attachment]:
        """The visitor's files as attachments of the message with this key, in order. Raises UploadUnknown."""
        values = {
            "ids": list(uploads),
            "connection": connection.id,
            "owner": await self.owner(connection, visitor),
            "key": key_hash,
        }
        try:
            async with self._pools.app(connection.tenant_id) as conn:
                rows = await (await conn.execute(_BIND, values)).fetchall()
        except AWAY as error:
            raise Unavailable from error
        found = {row[0]: self._open(connection.tenant_id, row) for row in rows}
        if any(ident not in found for ident in uploads):
            raise UploadUnknown
        return [found[ident].attachment() for ident in uploads]

    async def find(self, tenant_id: UUID, upload: UUID) -> StoredUpload | None:
        """A whole file of the tenant, or None; the caller checks whose it is."""
        await self._load(tenant_id)
        try:
            [rows] = await self._pools.look(tenant_id, (_FIND, [upload]))
        except AWAY as error:
            raise Unavailable from error
        return self._open(tenant_id, rows[0]) if rows else None

    async def read(self, tenant_id: UUID, upload: StoredUpload) -> AsyncIterator[bytes]:
        """Its bytes, piece by piece; no connection is held while the reader takes them."""
        await self._load(tenant_id)
        for position in range(-(-upload.size // CHUNK_BYTES)):
            try:
                [rows] = await self._pools.look(tenant_id, (_READ, [upload.id, position]))
            except AWAY as error:
                raise Unavailable from error
            if not rows:
                raise UploadUnknown
            ident, sealed = rows[0]
            yield self._vault.open(_cell(tenant_id, "upload_chunk", "data", ident), bytes(sealed))

    async def whole(self, tenant_id: UUID, platform_id: str, *, max_bytes: int) -> bytes | None:
        """All bytes of an attachment that is stored here, or None when it is gone or larger than `max_bytes`."""
        ident = upload_id(platform_id)
        found = None if ident is None else await self.find(tenant_id, ident)
        if found is None or found.size > max_bytes:
            return None
        try:
            return b"".join([piece async for piece in self.read(tenant_id, found)])
        except UploadUnknown:
            return None

    async def _load(self, tenant_id: UUID) -> None:
        try:
            await self._vault.load(tenant_id)
        except AWAY as error:
            raise Unavailable from error

    def _open(self, tenant_id: UUID, row: Sequence[Any]) -> StoredUpload:
        ident, connection_id, owner, name, media_type, size = row
        return StoredUpload(
            id=ident,
            connection_id=connection_id,
            owner=bytes(owner),
            name=self._vault.open(_cell(tenant_id, "upload", "name", ident), bytes(name)).decode(),
            media_type=media_type,
            size=size,
        )


def owner_of(vault: Vault, connection: LiveConnection, visitor: str) -> bytes:
    """What stands for a visitor beside the file; the tenant's keys must be loaded."""
    return vault.blind(connection.tenant_id, f"visitor\0{connection.id}\0{visitor}".encode())


async def collect(pools: Pools, tenant_id: UUID) -> int:
    """Delete the tenant's files that no stored message names, a day after they came; returns how many."""
    total, found = 0, COLLECT_BATCH
    while found == COLLECT_BATCH:
        async with pools.app(tenant_id) as conn:
            values = {"tenant": tenant_id, "hours": KEEP_HOURS, "most": COLLECT_BATCH}
            rows = await (await conn.execute(_UNNAMED, values)).fetchall()
            await _drop(conn, tenant_id, [row[0] for row in rows])
        found = len(rows)
        total += found
    return total


async def hand_over(conn: Any, connection_id: UUID, *, before: bytes, after: bytes) -> None:
    """A visitor turned out to be a known user: the files come along."""
    await conn.execute(_HAND_OVER, (after, connection_id, before))


async def _drop(conn: Any, tenant_id: UUID, uploads: Sequence[UUID]) -> int:
    if not uploads:
        return 0
    await conn.execute(_DROP_CHUNKS, (list(uploads),))
    row = await (await conn.execute(_DROP, (list(uploads),))).fetchone()
    await conn.execute(_GIVE_BACK, {"tenant": tenant_id, "size": row[0]})
    return int(row[0])


def _cell(tenant_id: UUID, table: str, column: str, row_id: UUID) -> CellRef:
    return CellRef(tenant_id, "content", table, column, row_id)
