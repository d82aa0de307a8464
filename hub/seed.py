"""The first rows of a new hub: a demo tenant that a person can talk to at once, and the first administrator.

Everything here may run again: what is there is left as it is.
"""

import secrets
from collections.abc import Mapping

from django.contrib.auth import get_user_model
from django.db import transaction

from agents.models import Agent
from hub.models import Connection
from hub.pipeline.connections import seal_credentials
from hub.pipeline.reading import vault
from tenants.context import ops_scope, tenant_scope
from tenants.models import Tenant
from tenants.plans import create_tenant

TENANT = "demo"
PLAN = "enterprise"
AGENT = "assistant"
ADMIN = "admin"
PROMPT = (
    "You are the assistant of a demonstration hub. Answer briefly and kindly, in the language of the person, "
    "and say so when you do not know."
)
CONNECTIONS = (("web", "Web chat"), ("api", "HTTP API"))
# Whoever opens the first chat may speak either language; what it offers works without a model too: the hub remembers.
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "web": {
        "title": "Demo",
        "greeting": "Hello! 你好！\n"
        "Tell me something and ask for it later: I remember.\n告诉我一件事，稍后再问我：我会记得。",
        "suggestions": "My parcel goes to Canal Street 7.\nWhere does my parcel go?\n"
        "我的包裹寄到运河街 7 号。\n我的包裹寄到哪里？",
    }
}


def seed_demo() -> dict[str, str]:
    """Make the demo tenant with agent, web chat and API, and the first administrator.

    Returns `tenant`, `agent`, the public ids as `web` and `api`, and `user` and `password` when the administrator was
    made just now: the password is stored as a hash only, so this is the one time it can be shown.
    """
    tenant = _tenant()
    with tenant_scope(tenant.id), transaction.atomic():
        # Two first starts at once: the second waits here and then finds the rows.
        Tenant.objects.select_for_update().get(id=tenant.id)
        agent = _agent(tenant)
        public = {channel: _connection(tenant, agent, channel=channel, name=name) for channel, name in CONNECTIONS}
    return {"tenant": TENANT, "agent": AGENT, **public, **_first_administrator()}


def _tenant() -> Tenant:
    with ops_scope("the demo tenant"):
        found = Tenant.objects.filter(slug=TENANT).first()
    return found or create_tenant(TENANT, "Demo", plan=PLAN)


def _agent(tenant: Tenant) -> Agent:
    found: Agent | None = Agent.objects.filter(name=AGENT).first()
    if found is None:
        found = Agent(tenant=tenant, name=AGENT, prompt=PROMPT)
        found.save(force_insert=True)
    return found


def _connection(tenant: Tenant, agent: Agent, *, channel: str, name: str) -> str:
    """The public id of the tenant's first connection of this channel."""
    found: Connection | None = Connection.objects.filter(channel=channel).order_by("id").first()
    if found is None:
        found = Connection(tenant=tenant, channel=channel, name=name, agent_id=agent.id)
        seal_credentials(vault(), found, OPTIONS.get(channel, {}))
        found.save(force_insert=True)
    return str(found.public_id)


def _first_administrator() -> dict[str, str]:
    users = get_user_model()
    if users._default_manager.filter(is_superuser=True).exists():
        return {}
    password = secrets.token_urlsafe(12)
    users._default_manager.create_superuser(ADMIN, "", password)
    return {"user": ADMIN, "password": password}
