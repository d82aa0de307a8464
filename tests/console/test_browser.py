"""The admin in a real browser: log in, look at each page, switch the tenant. SHOTS names a folder for looks."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.console.world import PASSWORD, World
from tests.support.browser import browsing, chromium, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHOTS = os.environ.get("SHOTS", "")


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.wait_for_timeout(400)
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


def log_in(page: Any, base: str, name: str) -> None:
    page.goto(f"{base}/admin/")
    shot(page, "login")
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.click("#login-form button[type=submit]")
    page.wait_for_selector("#tenant-choice")


def test_staff_work_in_the_console(staff: Any, acme: World) -> None:
    chromium()
    pages = {
        "quotas": "tenants/quota/",
        "connections": "hub/connection/",
        "connection": f"hub/connection/{acme.connections['telegram'].id}/change/",
        "channels": "hub/connection/add/",
        "agent": f"agents/agent/{acme.agent.id}/change/",
        "sessions": "hub/session/",
        "session": f"hub/session/{acme.session.id}/change/",
        "turn": f"hub/turn/{acme.turn.id}/change/",
        "deliveries": "hub/delivery/",
        "messages": "hub/message/",
        "key": "tenants/apikey/add/",
        "events": "hub/event/",
        "tenant": f"tenants/tenant/{acme.tenant.id}/change/",
        "plans": "tenants/plan/",
        "users": "auth/user/",
    }
    with served() as base, browsing() as page:
        log_in(page, base, "root")
        shot(page, "index")
        page.goto(f"{base}/admin/tenants/tenant/")
        shot(page, "tenants")
        page.click(f"button.enter-tenant[value='{acme.tenant.id}']")
        page.wait_for_load_state()
        assert page.input_value("#tenant-choice") == acme.tenant.name
        for name, path in pages.items():
            response = page.goto(f"{base}/admin/{path}")
            assert response.status == 200, path
            shot(page, name)
        page.goto(f"{base}/admin/hub/session/{acme.session.id}/change/")
        assert page.locator(".line-user .line-text").inner_text() == "Where is my order?"


def test_the_console_in_chinese_and_dark(acme: World) -> None:
    chromium()
    with served() as base, browsing(locale="zh-CN", color_scheme="dark") as page:
        log_in(page, base, "acme-owner")
        assert page.locator("html").get_attribute("lang") == "zh-hans"
        page.goto(f"{base}/admin/tenants/quota/")
        shot(page, "zh-quotas")
        page.goto(f"{base}/admin/hub/session/{acme.session.id}/change/")
        shot(page, "zh-session")
