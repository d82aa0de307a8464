"""The chat page in a real browser against a real gateway: streaming, reload, stop, events, time without a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.edges.conftest import folder, gateways, house, model_url, uvicorn_gateway  # noqa: F401 (fixtures)
from tests.support.browser import browsing, chromium

if TYPE_CHECKING:
    from tests.edges.conftest import Gateway, House

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHOTS = os.environ.get("SHOTS", "")
ANSWER = """Here is what I found:

## Steps
1. Open **settings**
2. Choose `Export`
   - as *CSV*
   - or JSON

```python
print("hello <world>")
```

| Plan | Price |
|------|-------|
| One | 5 |

See [the guide](https://example.org/guide). <img src=x onerror=alert(1)>
![a picture](https://example.org/picture.png) [no](javascript:alert(1))"""
NO_SOCKETS = """window.WebSocket = class {
  constructor() { this.readyState = 3; setTimeout(() => this.onclose?.({ code: 1006 }), 5); }
  close() {}
}; window.WebSocket.OPEN = 1;"""


@pytest.fixture
def address(house: House, uvicorn_gateway: Gateway) -> str:  # noqa: F811
    chromium()
    return f"{uvicorn_gateway.url}/chat/{house.connect('web')}"


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


def send(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def answers(page: Any) -> list[str]:
    return [str(text) for text in page.locator(".entry.assistant:not(.live) .body").all_inner_texts()]


def test_an_answer_streams_and_is_drawn_safely(address: str) -> None:
    with browsing() as page:
        page.goto(address)
        page.wait_for_selector("#link[data-state=online]")
        shot(page, "chat-empty")
        send(page, f'[[text delay=0.02 text="{ANSWER.replace(chr(34), chr(39))}"]]')
        page.wait_for_selector(".entry.assistant:not(.live) table")
        body = page.locator(".entry.assistant:not(.live) .body").last
        assert body.locator("pre code").inner_text().strip() == "print('hello <world>')"
        assert body.locator("img").count() == 0
        assert "<img src=x" in body.inner_text()
        assert body.locator("a").all_inner_texts() == ["the guide", "a picture"]  # remote images are not shown here
        link = body.locator("a").first
        assert link.get_attribute("rel") == "noopener noreferrer nofollow"
        assert body.locator("ol > li").count() == 2
        assert body.locator("ol ul > li").count() == 2
        assert page.locator(".pending").count() == 0
        shot(page, "chat-answer")


def test_a_reload_in_the_middle_goes_on(address: str) -> None:
    with browsing() as page:
        page.goto(address)
        send(page, "[[normal chunks=120 delay=0.03]]")
        page.locator(".live .body", has_text="word20 ").wait_for()
        shot(page, "chat-live")
        page.reload()
        page.wait_for_selector(".entry.assistant:not(.live)")
        (text,) = answers(page)
        assert text.split() == [f"word{n}" for n in range(120)]
        assert page.locator(".entry.user").count() == 1


def test_stop_keeps_what_was_said(address: str) -> None:
    with browsing() as page:
        page.goto(address)
        send(page, "[[normal chunks=2000 delay=0.05]]")
        page.locator(".live .body", has_text="word5 ").wait_for()
        page.press("#text", "Escape")
        page.wait_for_selector(".entry.assistant:not(.live)")
        assert "word5" in answers(page)[0]
        assert page.locator("#stop").is_hidden()


def test_events_do_where_sockets_do_not_get_through(address: str) -> None:
    with browsing() as page:
        page.add_init_script(NO_SOCKETS)
        page.goto(address)
        page.wait_for_selector("#link[data-state=online]")
        send(page, "[[normal chunks=5]]")
        page.wait_for_selector(".entry.assistant:not(.live)")
        assert answers(page)[0].split() == [f"word{n}" for n in range(5)]
        assert page.locator(".pending").count() == 0


def test_what_is_written_without_a_network_is_sent_once(address: str) -> None:
    with browsing() as page:
        page.goto(address)
        page.wait_for_selector("#link[data-state=online]")
        page.context.set_offline(True)
        page.wait_for_selector("#link[data-state=offline]")
        send(page, "[[normal chunks=3]]")
        send(page, "second")
        assert page.locator(".pending").count() == 2
        shot(page, "chat-offline")
        page.context.set_offline(False)
        page.wait_for_selector(".entry.assistant:not(.live)")
        page.wait_for_selector(".pending", state="detached")
        assert page.locator(".entry.user").count() == 2
        page.reload()
        page.wait_for_selector(".entry.user")
        page.wait_for_timeout(300)
        assert page.locator(".entry.user").count() == 2


def test_a_message_that_no_frame_holds_stays_in_the_box(address: str) -> None:
    with browsing() as page:
        page.goto(address)
        page.wait_for_selector("#link[data-state=online]")
        send(page, "长" * 25_000)
        assert "too long" in page.locator("#hint").inner_text()
        assert page.locator(".pending").count() == 0
        assert len(page.input_value("#text")) == 25_000


def test_the_console_behind_the_real_server(house: House, uvicorn_gateway: Gateway) -> None:  # noqa: F811
    from tests.console.world import PASSWORD
    from tests.edges.conftest import apart

    def make() -> str:
        from django.contrib.auth.models import User

        from tenants.context import tenant_scope
        from tenants.members import add_member
        from tenants.models import Tenant

        user = User.objects.create_user(f"owner-{house.tenant_id.hex}", password=PASSWORD)
        with tenant_scope(house.tenant_id):
            tenant = Tenant.objects.get()
        add_member(tenant, user.pk, "owner")
        return str(user.username)

    name = apart(make)
    with browsing() as page:
        page.goto(f"{uvicorn_gateway.url}/admin/")
        page.fill("#id_username", name)
        page.fill("#id_password", PASSWORD)
        page.click("#login-form button[type=submit]")
        page.wait_for_selector(".overview .standing")
        page.goto(f"{uvicorn_gateway.url}/admin/agents/agent/")
        page.locator("#result_list, table").get_by_text(house.agent).first.wait_for()
        found = page.goto(f"{uvicorn_gateway.url}/api/v1/tenant/")
        assert found.json()["id"] == str(house.tenant_id)
        page.goto(f"{uvicorn_gateway.url}/api/docs/")
        page.locator(".swagger-ui .opblock").first.wait_for()
        shot(page, "swagger")


def test_on_a_phone_in_chinese_and_dark(address: str) -> None:
    phone: dict[str, Any] = {"viewport": {"width": 390, "height": 780}, "locale": "zh-CN", "color_scheme": "dark"}
    with browsing(**phone) as page:
        page.goto(address)
        page.wait_for_selector("#link[data-state=online]")
        assert page.locator("#text").get_attribute("placeholder") == "输入消息"
        send(page, "你好，今天怎么样？")
        page.wait_for_selector(".entry.assistant:not(.live)")
        wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide
        shot(page, "chat-phone")


def test_a_page_without_a_chat_asks_nothing(uvicorn_gateway: Gateway) -> None:  # noqa: F811
    chromium()
    with browsing(tolerate=("404",)) as page:
        page.goto(f"{uvicorn_gateway.url}/chat/nobody-has-this")
        page.locator(".welcome h2", has_text="not available").wait_for()
        assert page.locator("#text").is_hidden()
        assert page.locator(".notice").is_hidden()
        shot(page, "chat-none")


def test_the_page_says_where_things_may_come_from(address: str) -> None:
    import urllib.request

    with urllib.request.urlopen(address, timeout=10) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert b"https://" not in answer.read()
