"""Rows that the benchmarks need, made in a hub's database: `python -m tests.benchmarks.seed CALLBACK SECRET`.

Prints one JSON line: public ids of the webhook connections, of web chat and API, and an API key.
"""

import json
import sys

CONNECTIONS = 24
"""The generic channel sends at most 100 answers a second per connection, so that a receiver is not flooded."""


def seed(callback: str, secret: str) -> dict[str, object]:
    """One tenant without limits, one agent on the operator's model, many programs connected."""
    from agents.models import Agent
    from hub.models import Connection
    from hub.pipeline.connections import seal_credentials
    from hub.pipeline.reading import vault
    from hub.seed import seed_demo
    from tenants import keys, quotas
    from tenants.context import ops_scope, tenant_scope
    from tenants.models import Tenant

    demo = seed_demo()
    with ops_scope("benchmarks"):
        tenant = Tenant.objects.get(slug=demo["tenant"])
    paths = []
    with tenant_scope(tenant.id):
        agent = Agent.objects.get(name=demo["agent"])
        for number in range(CONNECTIONS):
            row = Connection(
                tenant=tenant, channel="webhook", name=f"program {number}", agent_id=agent.id, burst="enqueue"
            )
            seal_credentials(vault(), row, {"secret": secret, "callback_url": callback})
            row.save(force_insert=True)
            paths.append(row.webhook_path)
    # 200 turns at once are more than the plan's hundred; what waits for a slot would be measured as the hub's slowness.
    quotas.override(tenant.id, "concurrency", quotas.UNLIMITED)
    issued = keys.issue(tenant.id, scopes=["chat"], name="bench")
    return {"paths": paths, "web": demo["web"], "api": demo["api"], "key": issued.key, "agent": demo["agent"]}


def main() -> None:
    """Make the rows."""
    from hub.cli.database import set_up_django

    set_up_django()
    sys.stdout.write(json.dumps(seed(sys.argv[1], sys.argv[2])) + "\n")


if __name__ == "__main__":
    main()
