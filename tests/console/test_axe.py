"""axe-core over the console's main pages: nothing serious or critical. Needs `npm ci`, as `.ci/run` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.console.activity import make_activity
from tests.console.test_browser import log_in
from tests.console.test_widget import AXE, serious
from tests.support.browser import browsing, chromium, served

if TYPE_CHECKING:
    from tests.console.world import World

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_console_keeps_nobody_out(staff: Any, acme: World, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci in hub/console/widget")
    chromium()
    pages = {
        "dashboard": "?period=month",
        "session": f"hub/session/{acme.session.id}/change/",
        "trace": f"hub/turn/{acme.turn.id}/change/",
        "connection": f"hub/connection/{acme.connections['telegram'].id}/change/",
        "letters": "hub/delivery/?status=letters",
        "start": "start/model/",
    }
    if scheme == "light":
        make_activity(acme.tenant.id, [row.id for row in acme.connections.values()], size=20)
    with served() as base, browsing(color_scheme=scheme, bypass_csp=True, reduced_motion="reduce") as page:
        log_in(page, base, "acme-owner")
        found: dict[str, list[str]] = {}
        for name, path in pages.items():
            page.goto(f"{base}/admin/{path}")
            found[name] = serious(page)
        assert {name: rules for name, rules in found.items() if rules} == {}
