"""A tenant and the ledger's steps over real pools, without any runner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.hub.ledger.steps import Steps


@pytest.fixture
async def steps(clean: Any) -> AsyncIterator[Steps]:
    from tenants.db.pools import Pools
    from tests.hub.ledger.steps import Steps
    from tests.support.world import make_tenant

    tenant_id, agent_id, public = await asyncio.to_thread(make_tenant, {"web": {}})
    pools = Pools(clean.login_dsn)
    await pools.open()
    yield Steps(clean, pools, tenant_id, agent_id, public["web"])
    await pools.close()
