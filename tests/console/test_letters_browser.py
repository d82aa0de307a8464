"""A delivery dies because the platform refuses; an operator sees why, the platform is repaired, the letter is replayed.

A whole hub, a platform on a socket, the console in a real browser.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.test_browser import log_in, shot
from tests.support.browser import browsing, chromium, served

if TYPE_CHECKING:
    from tests.support.world import World

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "operator"


def make_operator(world: World) -> None:
    from django.contrib.auth.models import User
    from django.db import connections

    from tenants.context import ops_scope
    from tenants.members import add_member
    from tenants.models import Tenant
    from tests.console.world import PASSWORD

    with ops_scope("test"):
        tenant = Tenant.objects.get(id=world.tenant_id)
    add_member(tenant, User.objects.create_user(NAME, password=PASSWORD).pk, "operator")
    connections.close_all()


def sees_why(page: Any, base: str) -> None:
    """From the dead delivery to its turn, from there to the conversation, and from a message back to the turn."""
    page.goto(f"{base}/admin/hub/delivery/?status=dead")
    page.locator("#result_list").get_by_role("link", name="trace").first.click()
    page.wait_for_url("**/admin/hub/turn/**")
    assert page.locator(".exchange .line-user .line-text").inner_text() == "Is anybody there?"
    assert "Is anybody there?" in page.locator(".exchange .line-assistant .line-text").inner_text()
    assert page.locator(".shipments .badge-bad").count() == 1
    assert page.locator(".fall-step").count() >= 3
    assert page.locator(".fall-call").count() == 1
    shot(page, "trace-of-a-dead-letter")
    page.get_by_role("link", name="Open the conversation").click()
    page.locator(".line-assistant .ship-bad").wait_for()
    page.locator(".line-user .line-turn").click()
    page.wait_for_url("**/admin/hub/turn/**")


def replays(page: Any, base: str) -> None:
    page.goto(f"{base}/admin/hub/delivery/?status=dead")
    page.locator(".letters").get_by_role("link", name="Send again").click()
    assert page.locator(".ask-number").inner_text() == "1"
    shot(page, "replay-asked")
    page.locator("form.ask button[type=submit]").dblclick()
    page.get_by_text("1 delivery will be sent again.").wait_for()


def follows(page: Any, base: str, world: World, loop: asyncio.AbstractEventLoop) -> None:
    """The open conversation shows what is said meanwhile, without being loaded again."""
    session = world.value("SELECT id FROM session")
    page.goto(f"{base}/admin/hub/session/{session}/change/")
    page.locator(".line-assistant").wait_for()
    said = world.arrive("telegram", "And now? [[slow first_delay=2.5]]", number=2)
    asyncio.run_coroutine_threadsafe(said, loop).result(10)
    page.locator(".line-running").wait_for()
    shot(page, "conversation-at-work")
    page.locator(".transcript-lines .line-assistant").nth(1).wait_for()
    page.locator(".line-running").wait_for(state="detached")
    assert page.locator(".transcript-lines .line").count() == 4


async def test_a_dead_letter_is_understood_and_replayed_once(hub_runtime: World) -> None:
    chromium()
    world, telegram = hub_runtime, hub_runtime.fakes["telegram"]
    telegram.blocked.add("7")  # type: ignore[attr-defined]
    await world.arrive("telegram", "Is anybody there?", number=1)
    await world.until(lambda: world.value("SELECT count(*) FROM delivery WHERE status = 'dead'"), what="it died")
    await asyncio.to_thread(make_operator, world)
    loop = asyncio.get_running_loop()

    def operate() -> None:
        with served() as base, browsing() as page:
            log_in(page, base, NAME)
            sees_why(page, base)
            assert telegram.shown("7") == []
            telegram.blocked.clear()  # type: ignore[attr-defined]
            replays(page, base)
            follows(page, base, world, loop)

    await asyncio.to_thread(operate)
    await world.quiet()
    assert len(telegram.shown("7")) == 2  # the replayed letter, once, and the second answer
    assert world.rows("SELECT status, attempts FROM delivery ORDER BY position")[0] == ("sent", 2)
    assert world.value("SELECT count(*) FROM event WHERE type = 'delivery.retried'") == 1
    assert world.rows("SELECT action, actor, after->>'count' FROM audit") == [("delivery.replayed", NAME, "1")]
