"""A small dose of generated requests against a running gateway; `make fuzz` gives the full one."""

import os
import secrets
from typing import Any

import pytest

from tests.edges.conftest import Gateway, apart

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
EXAMPLES = int(os.environ.get("REST_EXAMPLES", "1"))


def _key() -> str:
    from tenants import keys
    from tenants.models import Plan, Tenant
    from tests.console.world import make_world

    world = make_world(f"t{secrets.token_hex(5)}")
    Tenant.objects.filter(id=world.tenant.id).update(plan=Plan.objects.get(slug="enterprise"))
    return keys.issue(world.tenant.id, scopes=["read", "write", "chat"]).key


def test_the_api_keeps_what_its_document_promises(uvicorn_gateway: Gateway, database: Any) -> None:
    from tests.fuzz.rest_api import failures

    found = failures(uvicorn_gateway.url, apart(_key), examples=EXAMPLES, steps=4)
    assert not found, "\n".join(found)
