"""`python -m tests.faults.plant`: make a tenant with an agent and connections from a JSON object on standard input.

Runs in a process of its own, with the environment of the hub under test; prints their ids as one JSON line.
"""

import json
import sys
from typing import Any

import django

from hub.env import env, select_settings


def plant(wanted: dict[str, Any]) -> dict[str, Any]:
    from agents.models import Agent
    from hub.models import Connection
    from hub.pipeline.connections import seal_credentials
    from tenants.context import tenant_scope
    from tenants.crypto import MasterKeys, Vault
    from tenants.plans import create_tenant

    tenant = create_tenant(wanted["tenant"], wanted["tenant"], plan="enterprise")
    vault = Vault(MasterKeys(*env().master_keys()))
    made = {}
    with tenant_scope(tenant.id):
        agent = Agent(tenant=tenant, name="faults", **wanted.get("agent", {}))
        agent.save(force_insert=True)
        for name, values in wanted["connections"].items():
            credentials = values.pop("credentials")
            row = Connection(tenant=tenant, name=name, agent_id=agent.id, **values)
            seal_credentials(vault, row, credentials)
            row.save(force_insert=True)
            made[name] = {"id": str(row.id), "public_id": row.public_id, "channel": row.channel}
    return {"tenant": str(tenant.id), "agent": str(agent.id), "connections": made}


if __name__ == "__main__":
    select_settings()
    django.setup()
    sys.stdout.write(json.dumps(plant(json.load(sys.stdin))) + "\n")
