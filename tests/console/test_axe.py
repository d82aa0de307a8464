"""axe-core over the console's pages: nothing serious or critical."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.console.activity import make_activity
from tests.console.test_browser import log_in
from tests.support.axe import serious
from tests.support.browser import browsing, chromium, served

if TYPE_CHECKING:
    from tests.console.world import World

pytestmark = [pytest.mark.browser, pytest.mark.slow]


PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "zh-CN"}


@pytest.mark.parametrize("look", [{}, PHONE], ids=["light", "dark phone in Chinese"])
def test_the_console_keeps_nobody_out(staff: Any, acme: World, look: dict[str, Any]) -> None:
    chromium()
    pages = {
        "dashboard": "?period=month",
        "session": f"hub/session/{acme.session.id}/change/",
        "trace": f"hub/turn/{acme.turn.id}/change/",
        "connection": f"hub/connection/{acme.connections['telegram'].id}/change/",
        "letters": "hub/delivery/?status=letters",
        "start": "start/model/",
        "chat": "start/chat/",
        "channel": "start/channel/",
        "sessions": "hub/session/",
        "deliveries": f"hub/delivery/{acme.deliveries['dead'].id}/change/",
        "channels": "hub/connection/add/",
        "slack": "hub/connection/add/?channel=slack",
        "web": f"hub/connection/{acme.connections['web'].id}/change/",
        "agent": f"agents/agent/{acme.agent.id}/change/",
        "tenant": f"tenants/tenant/{acme.tenant.id}/change/",
        "quotas": "tenants/quota/",
        "keys": "tenants/apikey/",
        "key": "tenants/apikey/add/",
        "audit": "tenants/auditentry/",
        "purge": "hub/delivery/bulk/?do=purge",
    }
    if not look:
        make_activity(acme.tenant.id, [row.id for row in acme.connections.values()], size=20)
    with served() as base, browsing(**look, bypass_csp=True, reduced_motion="reduce") as page:
        log_in(page, base, "acme-owner")
        found: dict[str, list[str]] = {}
        for name, path in pages.items():
            page.goto(f"{base}/admin/{path}")
            found[name] = serious(page)
        assert {name: rules for name, rules in found.items() if rules} == {}
