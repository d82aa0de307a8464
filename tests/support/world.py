"""A whole hub process inside a test: a Runtime on the test database, one tenant, one agent, a connection per channel.

async def test_…(hub_runtime: World) -> None:
    await hub_runtime.arrive("telegram", "hi", number=1)           # a signed webhook, verified, parsed, accepted
    await hub_runtime.until(lambda: hub_runtime.fakes["telegram"].shown("7"))
    second = await hub_runtime.another()                           # one more process, in this one
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from hub.env import env
from hub.ledger.accept import Accept
from hub.pipeline.chat import Said
from hub.pipeline.connections import LiveConnection
from hub.runtime import Runtime
from tenants.ids import uuid7
from tests.conftest import Database
from tests.support.model_server import ModelServer
from tests.support.patience import PATIENCE
from tests.support.platforms.base import FakePlatform

LEASE_SECONDS = 3.0
CHANNELS = ("webhook", "telegram", "slack", "web", "api")


@dataclass
class World:
    """A running hub, what stands around it, and words to ask about it."""

    runtime: Runtime
    database: Database
    tenant_id: UUID
    agent_id: UUID
    model: ModelServer
    fakes: Mapping[str, FakePlatform]
    public_ids: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: list[Runtime] = field(default_factory=list)

    async def connection(self, channel: str, runtime: Runtime | None = None) -> LiveConnection:
        found = await (runtime or self.runtime).connections.find(channel, self.public_ids[channel])
        assert found is not None
        return found

    async def arrive(
        self,
        channel: str,
        text: str,
        *,
        number: int,
        conversation: str = "",
        sender: str = "",
        runtime: Runtime | None = None,
    ) -> list[Any]:
        """A person's message as the webhook edge would take it; the outcomes."""
        fake, connection = self.fakes[channel], await self.connection(channel, runtime)
        body = fake.said(text, number=number, conversation=conversation, sender=sender)
        request = fake.request(body, now=time.time(), headers=None)
        connection.adapter.verify(request)
        events = connection.adapter.parse(request)
        return await (runtime or self.runtime).inbox.accept(connection, request, events)

    async def say(
        self, text: str, *, conversation: str = "c1", client_id: str = "", runtime: Runtime | None = None, **more: Any
    ) -> Said:
        """A message over web chat, or `channel="api"`."""
        channel = more.pop("channel", "web")
        connection = await self.connection(channel, runtime)
        return await (runtime or self.runtime).chat.say(
            connection,
            conversation=conversation,
            sender_id=more.pop("sender_id", conversation),
            client_id=client_id or uuid4().hex,
            text=text,
            **more,
        )

    async def another(self, **changes: Any) -> Runtime:
        """One more process of the same hub; ends with the test."""
        made = Runtime(env().model_copy(update={**self.settings, **changes}))
        self.extra.append(made)
        await made.start()
        return made

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read or change anything, past every policy."""
        return self.database.rows(query, *values)

    def value(self, query: str, *values: Any) -> Any:
        """The first column of the first row, None without one."""
        return self.database.value(query, *values)

    async def until(self, condition: Callable[[], Any], *, seconds: float = PATIENCE, what: str = "") -> Any:
        """The condition's first true answer; AssertionError at the deadline."""
        return await until(condition, seconds=seconds, what=what)

    async def quiet(self) -> None:
        """Until nothing is due, running or under way."""
        await self.until(
            lambda: (
                not self.value(
                    "SELECT count(*) FROM session WHERE due_turns > 0 OR turn_id IS NOT NULL OR unsettled > 0"
                )
            ),
            what="every session is idle",
        )

    def set_quota(self, metric: str, limit: int, *, used: int | None = None) -> None:
        """The tenant's limit (-1: none), and what it has used."""
        self.rows(
            "UPDATE quota SET override = %s, used = coalesce(%s, used) WHERE metric = %s AND tenant_id = %s",
            limit,
            used,
            metric,
            self.tenant_id,
        )

    def quota(self, metric: str) -> tuple[int, int]:
        """(used, reserved)."""
        row = self.rows("SELECT used, reserved FROM quota WHERE metric = %s AND tenant_id = %s", metric, self.tenant_id)
        return row[0][0], row[0][1]

    def row(self, connection: LiveConnection, **changes: Any) -> Accept:
        """A row for the accept statement, sealed emptily: for tests of the ledger alone."""
        return accept_row(connection.tenant_id, connection.id, connection.agent_id, **changes)


def accept_row(tenant_id: UUID, connection_id: UUID, agent_id: UUID, **changes: Any) -> Accept:
    """A row for the accept statement; `place` (bytes) names its session."""
    contact_id = changes.pop("contact_id", uuid4())
    place = changes.pop("place", uuid4().bytes)
    values: dict[str, Any] = {
        "message_id": uuid7(),  # its time chooses the partition
        "tenant_id": tenant_id,
        "connection_id": connection_id,
        "key_hash": uuid4().bytes,
        "session_id": uuid4(),
        "address_hash": place.ljust(16, b"\0")[:16],
        "address": b"a",
        "agent_id": agent_id,
        "contact_id": contact_id,
        "contact_external": b"e",
        "contact_name": b"n",
        "subject_id": contact_id,
        "body": b"b",
        "turn_id": uuid4(),
    }
    return Accept(**{**values, **changes})


async def until(condition: Callable[[], Any], *, seconds: float = PATIENCE, what: str = "") -> Any:
    """Poll a condition (plain or awaitable) until it holds; tests have no better event for what another process did."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or _words(condition)}")
        await asyncio.sleep(0.02)


def _words(condition: Callable[[], Any]) -> str:
    """What was waited for, as it is written; a partial has no source of its own, and names what it calls with."""
    if isinstance(condition, partial):
        return f"{condition.func.__qualname__}{condition.args}"
    return inspect.getsource(condition).strip()


def make_tenant(
    credentials: Mapping[str, Mapping[str, Any]], *, plan: str = "enterprise"
) -> tuple[UUID, UUID, dict[str, str]]:
    """A tenant with an agent and a connection per channel: (tenant, agent, public ids). Synchronous: use a thread."""
    from django.db import connections

    from agents.models import Agent
    from hub.models import Connection
    from hub.pipeline.connections import seal_credentials
    from tenants.context import tenant_scope
    from tenants.crypto import MasterKeys, Vault
    from tenants.plans import create_tenant

    tenant = create_tenant(f"t{uuid4().hex[:10]}", "Test", plan=plan)
    vault = Vault(MasterKeys(*env().master_keys()))
    public: dict[str, str] = {}
    with tenant_scope(tenant.id):
        agent = Agent(tenant_id=tenant.id, name="assistant", prompt="Be brief.")
        agent.save(force_insert=True)
        for channel, values in credentials.items():
            row = Connection(tenant_id=tenant.id, channel=channel, name=channel, agent_id=agent.id)
            seal_credentials(vault, row, values)
            row.save(force_insert=True)
            public[channel] = row.public_id
    connections.close_all()
    return tenant.id, agent.id, public


async def make_world(database: Database, model: ModelServer, fakes: Mapping[str, FakePlatform], url: str) -> World:
    """Rows and settings; the runtime is made and not started."""
    credentials = {slug: fakes[slug].credentials() if slug in fakes else {} for slug in CHANNELS}
    tenant_id, agent_id, public = await asyncio.to_thread(make_tenant, credentials)
    settings: dict[str, Any] = {
        "database_url": database.login_dsn,
        "redis_url": url,
        "egress_allow": ("127.0.0.0/8",),
        "lease_seconds": LEASE_SECONDS,
        "llm_base_url": model.url,
        "llm_model": "scripted",
        "drain": 5.0,
    }
    runtime = Runtime(env().model_copy(update=settings))
    return World(runtime, database, tenant_id, agent_id, model, fakes, public, settings)
