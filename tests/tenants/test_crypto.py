"""Sealed cells: the standards' known answers, tampering, moving, and rotation of every key while cells are read."""

import asyncio
import base64
import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tenants.context import tenant_scope
from tenants.crypto import CellRef, MasterKeys, Vault, rotation
from tenants.crypto.blob import OVERHEAD, key_id_of
from tenants.crypto.suites import SUITES, Aes256Gcm, Sm4Gcm
from tenants.db.pools import Pools
from tenants.db.rls import Protect
from tenants.errors import KeyUnavailable, MasterKeyMissing, Tampered
from tenants.ids import uuid7
from tests.conftest import Database
from tests.support.patience import PATIENCE

SUITE_NAMES = ["aes256gcm", "sm4gcm"]


def test_sm4_gcm_answers_as_rfc_8998() -> None:
    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    nonce = bytes.fromhex("00001234567800000000abcd")
    aad = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    plaintext = bytes.fromhex(
        "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"
        "eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa"
    )
    ciphertext = bytes.fromhex(
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
        "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
    )
    tag = bytes.fromhex("83de3541e4c2b58177e065a9bf7b62ec")
    assert Sm4Gcm(key).encrypt(nonce, plaintext, aad) == ciphertext + tag
    assert Sm4Gcm(key).decrypt(nonce, ciphertext + tag, aad) == plaintext


def test_sm4_block_and_sm3_answer_as_their_standards() -> None:
    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    encryptor = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()
    assert (encryptor.update(key) + encryptor.finalize()).hex() == "681edf34d206965e86b3e94f536e4246"
    digest = hashes.Hash(hashes.SM3())
    digest.update(b"abc")
    assert digest.finalize().hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


def test_aes_256_gcm_answers_as_the_gcm_specification() -> None:
    # Test case 16 of the GCM specification.
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    aad = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    plaintext = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = bytes.fromhex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    assert Aes256Gcm(key).encrypt(nonce, plaintext, aad) == sealed
    assert Aes256Gcm(key).decrypt(nonce, sealed, aad) == plaintext


def test_hmac_sm3_differs_from_sha256_and_is_stable() -> None:
    macs = {SUITES[name].mac(b"k" * 16, b"data") for name in SUITE_NAMES}
    assert len(macs) == 2
    assert all(len(mac) == 32 for mac in macs)


@pytest.fixture
def master() -> MasterKeys:
    return MasterKeys(os.urandom(32))


@pytest.fixture
async def tenant(pair: tuple[UUID, UUID], request: pytest.FixtureRequest, database: Database) -> UUID:
    """A tenant of its own, whose keys no other test has made."""
    tenant_id = uuid7()
    with psycopg.connect(database.owner_dsn, options="-c hub.maintenance=on") as conn:
        conn.execute(
            "INSERT INTO tenant (id, slug, name, plan_id, status, zone, suite, language) "
            "SELECT %s, %s, 'Sealed', id, 'active', 'UTC', %s, 'en' FROM plan LIMIT 1",
            (tenant_id, f"s{uuid4().hex[:12]}", getattr(request, "param", "aes256gcm")),
        )
    return tenant_id


both = pytest.mark.parametrize("tenant", SUITE_NAMES, indirect=True)


def cell(tenant_id: UUID, **changes: Any) -> CellRef:
    values: dict[str, Any] = {"tenant_id": tenant_id, "purpose": "content", "table": "sealed", "column": "body"}
    return CellRef(**{**values, "row_id": UUID(int=7), **changes})


@both
async def test_round_trip(pools: Pools, master: MasterKeys, tenant: UUID) -> None:
    vault = Vault(master, pools)
    with pytest.raises(KeyUnavailable):
        vault.seal(cell(tenant), b"x")
    await vault.load(tenant)
    for plaintext in (b"", b"x", "你好".encode() * 1000):
        blob = vault.seal(cell(tenant), plaintext)
        assert len(blob) == len(plaintext) + OVERHEAD
        assert vault.open(cell(tenant), blob) == plaintext
        assert vault.seal(cell(tenant), plaintext) != blob
    other = Vault(master, pools)
    await other.load(tenant)
    assert other.open(cell(tenant), blob) == plaintext


@both
async def test_no_changed_byte_is_accepted(pools: Pools, master: MasterKeys, tenant: UUID) -> None:
    vault = Vault(master, pools)
    await vault.load(tenant)
    blob = vault.seal(cell(tenant), b"attack at dawn")
    for index in range(len(blob)):
        for flip in (0x01, 0x80):
            changed = bytearray(blob)
            changed[index] ^= flip
            with pytest.raises((Tampered, KeyUnavailable)):
                vault.open(cell(tenant), bytes(changed))
    for length in range(len(blob)):
        with pytest.raises((Tampered, KeyUnavailable)):
            vault.open(cell(tenant), blob[:length])
    with pytest.raises(Tampered):
        vault.open(cell(tenant), blob + b"\0")


@both
async def test_a_blob_opens_nowhere_else(pools: Pools, master: MasterKeys, tenant: UUID, pair: Any) -> None:
    vault = Vault(master, pools)
    await vault.load(tenant)
    blob = vault.seal(cell(tenant), b"secret")
    for change in ({"table": "other"}, {"column": "other"}, {"row_id": UUID(int=8)}, {"purpose": "memory"}):
        with pytest.raises((Tampered, KeyUnavailable)):
            vault.open(cell(tenant, **change), blob)
    fresh = Vault(master, pools)
    with pytest.raises(KeyUnavailable):
        fresh.open(cell(tenant), blob)


async def test_hashes_belong_to_a_tenant_and_survive_rotation(
    pools: Pools, master: MasterKeys, tenant: UUID, database: Database
) -> None:
    vault = Vault(master, pools)
    await vault.load(tenant)
    blind, words = vault.blind(tenant, b"u1"), vault.lexemes(tenant, ["hello", "世界", "hello"])
    assert len(blind) == 16
    assert words[0] == words[2] != words[1]
    with psycopg.connect(database.superuser_dsn) as conn:
        many = vault.lexemes(tenant, [str(number) for number in range(500)])
        row = conn.execute("SELECT tsvector_to_array(to_tsvector('simple', %s))", (" ".join(many),)).fetchone()
    assert row == (sorted(many),)
    await rotation.rotate_tenant(pools, vault, tenant, "content", grace_seconds=0)
    other = Vault(master, pools)
    await other.load(tenant)
    assert (other.blind(tenant, b"u1"), other.lexemes(tenant, ["hello"])) == (blind, words[:1])
    with pytest.raises(ValueError, match="not rotated"):
        await rotation.rotate_tenant(pools, vault, tenant, "index")  # type: ignore[arg-type]


async def test_two_processes_make_a_new_tenants_keys_once(pools: Pools, master: MasterKeys, tenant: UUID) -> None:
    vaults = [Vault(master, pools) for _ in range(6)]
    await asyncio.gather(*(vault.load(tenant) for vault in vaults))
    assert len({vault.active_key(tenant, "content") for vault in vaults}) == 1


def test_the_synchronous_way_loads_the_same_keys(mode: str, master: MasterKeys, pair: tuple[UUID, UUID]) -> None:
    from django.db import connection

    tenant_id = pair[0]
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("DELETE FROM data_key")
    first, second = Vault(master), Vault(master)
    first.load_sync(tenant_id)
    second.load_sync(tenant_id)
    assert second.open(cell(tenant_id), first.seal(cell(tenant_id), b"x")) == b"x"
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("DELETE FROM data_key WHERE purpose <> 'content'")


async def test_the_cache_is_bounded(
    pools: Pools, master: MasterKeys, pair: tuple[UUID, UUID], database: Database
) -> None:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        conn.execute("DELETE FROM data_key WHERE tenant_id = ANY(%s)", (list(pair),))
    vault = Vault(master, pools, tenants=1)
    for tenant_id in pair:
        await vault.load(tenant_id)
    assert vault.seal(cell(pair[1]), b"x")
    with pytest.raises(KeyUnavailable):
        vault.seal(cell(pair[0]), b"x")


@pytest.fixture
def sealed_table(database: Database) -> Iterator[None]:
    with psycopg.connect(database.owner_dsn) as conn:
        conn.execute("CREATE TABLE sealed (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, body bytea)")
        for statement in Protect("sealed").statements():
            conn.execute(statement)
    rotation.register_column("sealed", "body", "content")
    yield
    rotation._columns.pop(("sealed", "body"))
    with psycopg.connect(database.owner_dsn) as conn:
        conn.execute("DROP TABLE sealed")


@both
async def test_rotation_under_use(
    pools: Pools, master: MasterKeys, tenant: UUID, sealed_table: None, database: Database
) -> None:
    """Readers and writers of another process go on while the data key changes and the cells follow."""
    vault, elsewhere = Vault(master, pools), Vault(master, pools, seconds=0.05)
    await vault.load(tenant)
    ids = [uuid7() for _ in range(60)]
    async with pools.app(tenant) as conn:
        for row_id in ids:
            blob = vault.seal(cell(tenant, row_id=row_id), row_id.bytes)
            await conn.execute("INSERT INTO sealed VALUES (%s, %s, %s)", (row_id, tenant, blob))
    done = asyncio.Event()
    reads = 0

    async def use() -> None:
        nonlocal reads
        while not done.is_set():
            await elsewhere.load(tenant)
            row_id = ids[reads % len(ids)]
            async with pools.app(tenant) as conn:
                row = await (await conn.execute("SELECT body FROM sealed WHERE id = %s", (row_id,))).fetchone()
                assert row is not None
                ref = cell(tenant, row_id=row_id)
                assert elsewhere.open(ref, row[0]) == row_id.bytes
                await conn.execute(
                    "UPDATE sealed SET body = %s WHERE id = %s", (elsewhere.seal(ref, row_id.bytes), row_id)
                )
            reads += 1

    user = asyncio.create_task(use())
    old = vault.active_key(tenant, "content")
    new = await rotation.rotate_tenant(pools, vault, tenant, "content", grace_seconds=0.2)
    assert vault.active_key(tenant, "content") == old
    async with asyncio.timeout(PATIENCE):
        while vault.active_key(tenant, "content") != new:
            await asyncio.sleep(0.02)
            await vault.load(tenant, fresh=True)
    await rotation.reseal(pools, vault, tenant, "content", batch=7)
    done.set()
    await user
    assert reads > 5
    await rotation.reseal(pools, vault, tenant, "content", batch=7)
    assert await rotation.reseal(pools, vault, tenant, "content") == 0
    with psycopg.connect(database.superuser_dsn) as admin:
        bodies = admin.execute("SELECT body FROM sealed WHERE tenant_id = %s", (tenant,)).fetchall()
        assert {key_id_of(row[0]) for row in bodies} == {new}
        retired = "SELECT id FROM data_key WHERE tenant_id = %s AND purpose = 'content' AND retired_at IS NOT NULL"
        assert admin.execute(retired, (tenant,)).fetchall() == []  # other processes may still hold the old one
        admin.execute(
            "UPDATE data_key SET active_from = active_from - interval '1 hour' WHERE tenant_id = %s", (tenant,)
        )
        admin.commit()
        await rotation.reseal(pools, vault, tenant, "content")
        assert admin.execute(retired, (tenant,)).fetchall() == [(old,)]


async def test_rotation_of_the_master_key(pools: Pools, tenant: UUID, database: Database) -> None:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
        conn.execute("DELETE FROM data_key")  # keys of other tests are wrapped under masters that are gone
    first, second = os.urandom(32), os.urandom(32)
    vault = Vault(MasterKeys(first), pools)
    await vault.load(tenant)
    blob = vault.seal(cell(tenant), b"kept")
    ring = MasterKeys(second, first)
    assert await rotation.rotate_master(pools, ring) == 4
    assert await rotation.rotate_master(pools, ring) == 0
    only_new = Vault(MasterKeys(second), pools)
    await only_new.load(tenant)
    assert only_new.open(cell(tenant), blob) == b"kept"
    with pytest.raises(MasterKeyMissing, match="HUB_MASTER_KEY"):
        await Vault(MasterKeys(first), pools).load(tenant)


def test_master_keys_are_read_from_text() -> None:
    one, two = MasterKeys.generate(), MasterKeys.generate()
    ring = MasterKeys.parse(f"{one}, {two}")
    assert ring.primary_id == MasterKeys.parse(one).primary_id
    for wrong in ("", "abc", base64.b64encode(b"short").decode()):
        with pytest.raises(ValueError, match="master key") as refused:
            MasterKeys.parse(wrong)
        assert not wrong or wrong not in str(refused.value)
    assert one not in repr(ring)
