"""The API's page in a real browser: everything from here, nothing that the policy would stop, and a call that works."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import browsing, chromium, served

if TYPE_CHECKING:
    from tests.console.world import World

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHOTS = os.environ.get("SHOTS", "")


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


def test_a_call_from_the_page(acme: World) -> None:
    from tenants import keys

    chromium()
    key = keys.issue(acme.tenant.id, scopes=["read"]).key
    with served() as base, browsing(viewport={"width": 1280, "height": 900}) as page:
        page.goto(f"{base}/api/docs/")
        page.locator("#operations-tenant-tenant_retrieve").wait_for()
        shot(page, "api-docs-1280")
        page.get_by_role("button", name="Authorize").click()
        page.get_by_label("auth-bearer-value").fill(key)
        page.get_by_role("button", name="Apply credentials").first.click()
        page.get_by_role("button", name="Close").first.click()
        row = page.locator("#operations-tenant-tenant_retrieve")
        row.locator(".opblock-summary-control").click()
        row.get_by_role("button", name="Try it out").click()
        row.get_by_role("button", name="Execute").click()
        row.locator(".live-responses-table .highlight-code").first.get_by_text('"acme"').wait_for()
        row.scroll_into_view_if_needed()
        shot(page, "api-docs-call-1280")
        page.set_viewport_size({"width": 390, "height": 900})
        row.scroll_into_view_if_needed()
        shot(page, "api-docs-call-390")
