"""The operator's home in a real browser: the start, a channel set up against a local platform, limits, the switcher.

SHOTS names a folder for looks.
"""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.console.activity import make_activity
from tests.console.test_browser import SHOTS, log_in, shot
from tests.console.world import World
from tests.support.browser import browsing, chromium, served, standing
from tests.support.model_server import ModelServer
from tests.support.platforms.slack import FakeSlack

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This hub may reach servers of this machine, as its operator can allow."""
    from django.conf import settings

    found = settings.HUB_ENV.model_copy(update={"egress_allow": ("127.0.0.0/8",)})
    monkeypatch.setattr(settings, "HUB_ENV", found)


def test_a_channel_is_set_up_and_tested(acme: World, reachable: None) -> None:
    chromium()
    slack = FakeSlack()
    with standing(slack), served() as base, browsing() as page:
        log_in(page, base, "acme-operator")
        page.goto(f"{base}/admin/hub/connection/add/")
        shot(page, "home-channels")
        page.get_by_role("link", name="Slack").click()
        expect(page.locator(".help-steps li")).to_have_count(6)
        page.fill("#id_option_bot_token", "xoxb-wrong")
        page.fill("#id_option_signing_secret", slack.secret)
        page.locator("summary", has_text="Treatment").or_(page.get_by_text("Treatment")).first.click()
        page.locator("#id_option_api_base").fill(slack.base_url)
        shot(page, "home-slack-form")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator(".facts code")).to_contain_text("/webhooks/slack/")
        page.get_by_role("button", name="Test", exact=True).click()
        expect(page.locator(".asked-bad")).to_contain_text("refused these credentials")
        page.get_by_text("Treatment").first.click()
        page.locator("#id_option_api_base").fill("http://10.1.2.3:9")
        page.get_by_role("button", name="Save and continue editing").click()
        page.get_by_role("button", name="Test", exact=True).click()
        expect(page.locator(".asked-bad")).to_contain_text("does not connect to this address")
        page.get_by_text("Treatment").first.click()
        page.locator("#id_option_api_base").fill(slack.base_url)
        page.fill("#id_option_bot_token", slack.token)
        page.get_by_role("button", name="Save and continue editing").click()
        page.get_by_role("button", name="Test", exact=True).click()
        expect(page.locator(".asked-good")).to_contain_text("It works")
        shot(page, "home-slack-tested")
    from hub.models import Event
    from tenants.context import tenant_scope

    with tenant_scope(acme.tenant.id):
        tested = Event.objects.filter(type="connection.tested").order_by("created").values_list("data__ok", flat=True)
        assert list(tested) == [False, False, True]


def test_the_guided_start(umbrella: World, reachable: None) -> None:
    from agents.models import Agent
    from tenants.context import tenant_scope

    chromium()
    with tenant_scope(umbrella.tenant.id):
        Agent.objects.filter(id=umbrella.agent.id).update(routes=[])
    model = ModelServer()
    with standing(model), served() as base, browsing() as page:
        log_in(page, base, "umbrella-operator")
        shot(page, "home-start-index")
        page.get_by_role("link", name="Connect a model").click()
        page.fill("#id_base_url", "http://10.0.0.1/v1")
        page.fill("#id_model", "scripted")
        page.get_by_role("button", name="Test only").click()
        expect(page.locator(".asked-bad")).to_contain_text("does not connect to this address")
        shot(page, "home-start-refused")
        page.fill("#id_base_url", model.url)
        page.get_by_role("button", name="Test only").click()
        expect(page.locator(".asked-good")).to_contain_text("It answers")
        shot(page, "home-start-model")
        page.get_by_role("button", name="Test and save").click()
        page.fill("#id_name", "Ann of Umbrella")
        shot(page, "home-start-agent")
        page.get_by_role("button", name="Save and go on").click()
        expect(page.locator(".start-link code")).to_contain_text("/chat/")
        shot(page, "home-start-chat")
        page.get_by_role("button", name="Go on").click()
        shot(page, "home-start-channel")
        page.get_by_role("button", name="Finish").click()
        expect(page.locator(".start-card")).to_have_count(0)
    with tenant_scope(umbrella.tenant.id):
        agent = Agent.objects.get(id=umbrella.agent.id)
        assert (agent.name, agent.routes[0]["model"]) == ("Ann of Umbrella", "scripted")


def test_the_dashboard_and_the_switcher(staff: Any, acme: World, umbrella: World) -> None:
    chromium()
    for world, size in ((acme, 60), (umbrella, 25)):
        make_activity(world.tenant.id, [row.id for row in world.connections.values()], size=size)
    with served() as base, browsing(viewport={"width": 1280, "height": 900}) as page:
        log_in(page, base, "root")
        shot(page, "home-all")
        page.locator("#tenant-choice").click()
        page.locator("#tenant-choice").press_sequentially("umbr")
        expect(page.locator("#tenant-list [role=option]")).to_have_count(1)
        shot(page, "home-switcher")
        page.keyboard.press("Enter")
        page.wait_for_load_state()
        expect(page.locator("#tenant-choice")).to_have_value(umbrella.tenant.name)
        page.goto(f"{base}/admin/?period=week")
        expect(page.locator(".plotted svg")).to_have_count(4)
        page.goto(f"{base}/admin/tenants/tenant/{umbrella.tenant.id}/change/")
        page.get_by_role("link", name="Suspend").click()
        page.fill("#reason", "unpaid since spring")
        shot(page, "home-suspend")
        page.get_by_role("button", name="Suspend").click()
        expect(page.locator(".trail")).to_contain_text("unpaid since spring")
        shot(page, "home-tenant")
        page.get_by_role("link", name="Resume").click()
        page.fill("#reason", "paid")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".trail")).to_contain_text("paid")


OUTSIDE = """() => {
  const moves = '.graph, .scroll, .start-rail, pre, .md table';  // what is made to be moved sideways
  const found = [];
  for (const one of document.querySelectorAll('main *, #main *')) {
    if (!one.checkVisibility() || one.closest(moves) || one.closest('.sr-only')) continue;
    const card = one.parentElement.closest('.card')?.getBoundingClientRect();
    const edge = card ? card.right : document.documentElement.clientWidth;
    const { right, width } = one.getBoundingClientRect();
    const name = `${one.tagName}.${one.className?.baseVal ?? one.className}`;
    if (width && right > edge + 1) found.push(`${name}: ${right} > ${edge}`);
  }
  return found;
}"""
"""What stands out of its card, or out of the window."""
LOOKS = (
    ("phone-zh", {"viewport": {"width": 390, "height": 3200}, "locale": "zh-CN"}),
    ("light", {"viewport": {"width": 1280, "height": 1800}}),
    ("dark-zh", {"viewport": {"width": 1280, "height": 1800}, "color_scheme": "dark", "locale": "zh-CN"}),
    ("phone-dark", {"viewport": {"width": 390, "height": 3200}, "color_scheme": "dark"}),
)


@pytest.mark.parametrize(("name", "options"), LOOKS if SHOTS else LOOKS[:1])
def test_no_page_is_wider_than_its_window(name: str, options: Any, staff: Any, acme: World) -> None:
    from hub.models import Rollup
    from tenants.context import tenant_scope

    chromium()
    with tenant_scope(acme.tenant.id):
        Rollup.objects.all().delete()
    make_activity(acme.tenant.id, [row.id for row in acme.connections.values()], size=20)
    with served() as base, browsing(**options) as page:
        log_in(page, base, "acme-owner")
        pages = {
            "index": "",
            "connection": f"hub/connection/{acme.connections['telegram'].id}/change/",
            "channels": "hub/connection/add/",
            "tenant": f"tenants/tenant/{acme.tenant.id}/change/",
            "quotas": "tenants/quota/",
            "connections": "hub/connection/",
            "start": "start/model/",
            "audit": "tenants/auditentry/",
            "deliveries": "hub/delivery/",
            "messages": "hub/message/",
            "events": "hub/event/",
            "session": f"hub/session/{acme.session.id}/change/",
            "turn": f"hub/turn/{acme.turn.id}/change/",
            "agent": f"agents/agent/{acme.agent.id}/change/",
        }
        for kind, path in pages.items():
            page.goto(f"{base}/admin/{path}")
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, (path, wide)
            assert page.evaluate(OUTSIDE) == [], path
            shot(page, f"look-{name}-{kind}")
