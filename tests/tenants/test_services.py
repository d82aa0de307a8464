"""Plans, keys, quotas, usage, members and Redis names, on the real servers."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connection
from redis.exceptions import ConnectionError as RedisConnectionError

from tenants import keys, quotas, redis
from tenants.context import tenant_scope
from tenants.db.pools import Pools
from tenants.errors import UnknownPlan
from tenants.ids import uuid7
from tenants.members import add_member, memberships
from tenants.models import Plan, Quota, Tenant
from tenants.plans import change_plan, create_tenant
from tenants.usage import Reservation, Spent, settle
from tests.conftest import Database
from tests.tenants.support import close


@pytest.fixture
def tenant(database: Database) -> Iterator[Tenant]:
    yield create_tenant(f"s{uuid4().hex[:12]}", "Service", plan="starter")
    connection.close()


def test_plans_are_seeded_with_the_agreed_figures(database: Database) -> None:
    found = {
        plan.slug: {quota.metric: (quota.limit_value, quota.alert_at) for quota in plan.quotas.all()}
        for plan in Plan.objects.filter(slug__in=["starter", "professional", "enterprise"])
    }
    gib = 1 << 30
    assert found == {
        slug: {
            "sessions": (sessions, 0.8),
            "tokens_per_day": (tokens, 0.9),
            "documents": (documents, 0.8),
            "storage_bytes": (storage, 0.8),
            "concurrency": (concurrency, 0.8),
        }
        for slug, sessions, tokens, documents, storage, concurrency in (
            ("starter", 100, 500_000, 1_000, gib, 3),
            ("professional", 10_000, 10_000_000, 100_000, 100 * gib, 20),
            ("enterprise", -1, -1, -1, -1, 100),
        )
    }


def test_a_tenant_begins_with_a_row_per_metric(tenant: Tenant) -> None:
    with tenant_scope(tenant.id):
        assert Quota.objects.count() == 5
        assert Tenant.objects.get() == tenant
    with pytest.raises(ValidationError, match="taken"):
        create_tenant(tenant.slug, "Again")
    with pytest.raises(UnknownPlan, match="starter, professional, enterprise"):
        create_tenant("x", "X", plan="gold")
    with pytest.raises(ValidationError, match="time zone"):
        create_tenant("x", "X", zone="Mars/Base")
    with pytest.raises(ValidationError):
        create_tenant("not a slug", "X")


def test_a_lower_plan_keeps_counts_and_overrides(tenant: Tenant) -> None:
    change_plan(tenant, "professional")
    quotas.override(tenant.id, "documents", 7)
    with tenant_scope(tenant.id):
        Quota.objects.filter(metric="sessions").update(used=5_000)
    change_plan(tenant, "starter")
    with tenant_scope(tenant.id):
        assert Quota.objects.get(metric="sessions").used == 5_000
        assert Quota.objects.get(metric="sessions").limit_value == 100
        assert Quota.objects.get(metric="documents").override == 7
    quotas.override(tenant.id, "documents", None)
    with pytest.raises(ValueError, match="-1"):
        quotas.override(tenant.id, "documents", -2)
    with pytest.raises(LookupError):
        quotas.override(tenant.id, "nothing", 1)


def test_keys_are_shown_once_and_kept_as_a_hash(tenant: Tenant, database: Database) -> None:
    issued = keys.issue(tenant.id, scopes=["chat", "admin", "chat"], name="ci")
    secret = issued.key.split("_", 2)[2]
    assert issued.key.startswith("hub_")
    assert secret not in repr(issued)
    with psycopg.connect(database.superuser_dsn) as conn:
        row = conn.execute("SELECT api_key::text, hash FROM api_key WHERE id = %s", (issued.id,)).fetchone()
        assert row is not None
        assert secret not in row[0]
    grant = keys.find_by_secret_sync(issued.key)
    assert grant == keys.KeyGrant(issued.id, tenant.id, None, frozenset({"chat", "admin"}))
    for wrong in (
        "",
        "hub_",
        "hub__",
        "bearer",
        issued.key[:-1],
        issued.key + "x",
        "hub_zzzz_" + secret,
        "hub_a\0_b",
        "x" * 999,
        "hub_é_x",
    ):
        assert keys.find_by_secret_sync(wrong) is None, wrong
    assert keys.revoke(tenant.id, issued.id)
    assert not keys.revoke(tenant.id, issued.id)
    assert keys.find_by_secret_sync(issued.key) is None


async def test_keys_are_found_by_the_narrow_role(pools: Pools, pair: tuple[UUID, UUID]) -> None:
    agent = uuid4()
    issue = sync_to_async(keys.issue)
    good = await issue(pair[0], scopes=["chat"], agent_id=agent)
    late = await issue(pair[0], scopes=["chat"], expires_at=datetime.now(UTC) - timedelta(seconds=1))
    grant = await keys.find_by_secret(pools, good.key)
    assert grant == keys.KeyGrant(good.id, pair[0], agent, frozenset({"chat"}))
    assert await keys.find_by_secret(pools, late.key) is None
    assert await keys.find_by_secret(pools, good.key[:-2] + "--") is None
    await keys.touch(pools, grant)
    async with pools.app(pair[0]) as conn:
        row = await (await conn.execute("SELECT last_used_at FROM api_key WHERE id = %s", (good.id,))).fetchone()
        assert row is not None
        assert row[0] is not None
    assert not await sync_to_async(keys.revoke)(pair[1], good.id)
    assert await sync_to_async(keys.revoke)(pair[0], good.id)
    assert await keys.find_by_secret(pools, good.key) is None
    await sync_to_async(close)()


async def _tenant() -> UUID:
    made = await sync_to_async(create_tenant)(f"q{uuid4().hex[:12]}", "Quota", zone="Asia/Shanghai")
    await sync_to_async(close)()
    return made.id


async def test_usage_settles_reservations_once(pools: Pools, database: Database) -> None:
    tenant_id = await _tenant()
    async with pools.queue() as conn:
        await conn.execute(
            "UPDATE quota SET reserved = reserved + CASE metric WHEN 'concurrency' THEN 2 ELSE 9000 END "
            "WHERE tenant_id = %s AND metric IN ('concurrency', 'tokens_per_day')",
            (tenant_id,),
        )
    spent = Spent(
        tenant_id=tenant_id,
        kind="chat",
        provider="p",
        model="m",
        input_tokens=100,
        output_tokens=20,
        cost=Decimal("0.000123456"),
        turn_id=uuid7(),
    )
    async with pools.app(tenant_id) as conn:
        await settle(conn, [spent, spent], [Reservation(tenant_id=tenant_id, tokens=4000, slots=1)])
    async with pools.app(tenant_id) as conn:
        standing = await quotas.limits(conn, tenant_id)
        row = await (
            await conn.execute("SELECT count(*), sum(input_tokens + output_tokens), sum(cost) FROM usage")
        ).fetchone()
        default = await (await conn.execute("SELECT count(*) FROM usage_default")).fetchone()
    assert row == (2, 240, Decimal("0.000246912"))
    assert default == (0,)
    tokens, slots = standing["tokens_per_day"], standing["concurrency"]
    assert (tokens.used, tokens.reserved, tokens.left) == (240, 5000, 500_000 - 5240)
    assert (slots.used, slots.reserved, slots.left) == (0, 1, 2)
    with pytest.raises(ZeroDivisionError):
        async with pools.app(tenant_id) as conn:
            await settle(conn, [spent], [Reservation(tenant_id=tenant_id, tokens=99_999, slots=9)])
            raise ZeroDivisionError
    async with pools.app(tenant_id) as conn:
        await settle(conn, [], [Reservation(tenant_id=tenant_id, tokens=99_999, slots=9)])
        standing = await quotas.limits(conn, tenant_id)
    assert (standing["tokens_per_day"].used, standing["tokens_per_day"].reserved) == (240, 0)


async def test_usage_of_another_tenant_is_refused(pools: Pools, pair: tuple[UUID, UUID]) -> None:
    spent = Spent(tenant_id=pair[1], kind="chat", provider="p", model="m", input_tokens=1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with pools.app(pair[0]) as conn:
            await settle(conn, [spent])


async def test_a_new_day_begins_in_the_tenants_zone(pools: Pools, database: Database) -> None:
    tenant_id = await _tenant()
    async with pools.app(tenant_id) as conn:
        await conn.execute("UPDATE quota SET used = 490000, reserved = 10 WHERE metric = 'tokens_per_day'")
        assert [crossing.metric for crossing in await quotas.alerts(conn, tenant_id)] == ["tokens_per_day"]
        assert await quotas.alerts(conn, tenant_id) == []
        await conn.execute(
            "UPDATE quota SET period_start = date_trunc('day', now(), 'Asia/Shanghai') - interval '1 second', "
            "alerted_at = date_trunc('day', now(), 'Asia/Shanghai') - interval '1 second' "
            "WHERE metric = 'tokens_per_day'"
        )
        standing = (await quotas.limits(conn, tenant_id))["tokens_per_day"]
        assert (standing.used, standing.reserved) == (0, 10)
        assert standing.period_start.astimezone(UTC).hour == 16
        await settle(conn, [Spent(tenant_id=tenant_id, kind="chat", provider="p", model="m", input_tokens=5)])
        assert (await quotas.limits(conn, tenant_id))["tokens_per_day"].used == 5
        assert await quotas.roll_over(conn, tenant_id) == 0
        await conn.execute("UPDATE quota SET used = 460000 WHERE metric = 'tokens_per_day'")
        assert [crossing.used for crossing in await quotas.alerts(conn, tenant_id)] == [460_000]
        await conn.execute("UPDATE quota SET period_start = now() - interval '2 days' WHERE metric = 'tokens_per_day'")
        assert await quotas.roll_over(conn, tenant_id) == 1
        assert (await quotas.limits(conn, tenant_id))["tokens_per_day"].used == 0


async def test_a_crossing_is_reported_to_one_of_many(pools: Pools, database: Database) -> None:
    tenant_id = await _tenant()
    async with pools.app(tenant_id) as conn:
        await quotas.recount(conn, tenant_id, metric="documents", used=800)

    async def ask() -> int:
        async with pools.app(tenant_id) as conn:
            return len(await quotas.alerts(conn, tenant_id))

    assert sum(await asyncio.gather(*(ask() for _ in range(8)))) == 1
    for used, expected in ((799, 0), (801, 1), (900, 0)):
        async with pools.app(tenant_id) as conn:
            await quotas.recount(conn, tenant_id, metric="documents", used=used)
            assert len(await quotas.alerts(conn, tenant_id)) == expected
    await sync_to_async(quotas.override)(tenant_id, "documents", -1)
    async with pools.app(tenant_id) as conn:
        assert await quotas.alerts(conn, tenant_id) == []
        assert (await quotas.limits(conn, tenant_id))["documents"].left is None
    await sync_to_async(close)()


def test_a_user_finds_its_tenants(tenant: Tenant) -> None:
    user = get_user_model().objects.create_user(f"u{uuid4().hex[:8]}")
    add_member(tenant, user.pk, "viewer")
    add_member(tenant, user.pk, "owner")
    # Made-up rows of the isolation suite may carry the same user number.
    found = [member for member in memberships(user.pk) if member.tenant_id == tenant.id]
    assert [(member.tenant_id, member.tenant.slug, member.role) for member in found] == [
        (tenant.id, tenant.slug, "owner")
    ]


def test_redis_names_always_hold_the_tenant() -> None:
    tenant_id = uuid4()
    assert redis.key(tenant_id, "buffer", 7) == f"hub:{tenant_id}:buffer:7"
    assert redis.shared_key("wake", prefix="other") == "other:-:wake"
    for wrong in ((), ("",), ("a:b",)):
        with pytest.raises(ValueError, match="part"):
            redis.key(tenant_id, *wrong)


async def test_redis_answers_and_gives_up_in_time(redis_url: str) -> None:
    client = redis.connect(redis_url)
    await client.set(redis.key(UUID(int=1), "x"), b"1")
    assert await client.get(redis.key(UUID(int=1), "x")) == b"1"
    await client.aclose()
    with redis.connect_sync(redis_url) as sync:
        assert sync.ping()
    gone = redis.connect("unix:///nonexistent/valkey.sock")
    with pytest.raises(RedisConnectionError):
        await gone.ping()
    await gone.aclose()
