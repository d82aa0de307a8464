"""What an answer may hold, in a real browser: sources that open, steps of tools, replies to tap, pictures, a gap."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from redis import Redis

from tenants.redis import key
from tests.console.test_widget import DONE, ONLINE, _picture, _signed, send, shot
from tests.edges.conftest import folder, gateways, house, model_url, running, uvicorn_gateway  # noqa: F401 (fixtures)
from tests.support.browser import browsing, chromium
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.edges.conftest import Gateway, House

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ELSEWHERE = "https://pictures.example/tortoise.png"


def test_sources_tools_and_replies(house: House, uvicorn_gateway: Gateway) -> None:  # noqa: F811
    from agents.models import Agent

    chromium()
    tools = ["search_memory", "offer_replies"]
    house.run(lambda: Agent.objects.filter(pk=house.agent_id).update(tools=tools))
    secret = "a secret that the site and the hub share"
    public_id = house.connect("web", identity_secret=secret)
    address, ada = f"{uvicorn_gateway.url}/chat/{public_id}", _signed(secret, public_id)
    with browsing() as page:
        page.goto(address)
        page.wait_for_selector(ONLINE)
        identify(page, ada)
        send(page, '[[text text="Welcome, Ada."]]')
        page.locator(DONE, has_text="Welcome, Ada.").wait_for()
    with browsing() as page:  # what was said before Ada said who she is, she remembers as a guest's conversation
        page.goto(address)
        page.wait_for_selector(ONLINE)
        send(page, 'My tortoise is called Leopold. [[text text="A fine name."]]')
        page.locator(DONE, has_text="A fine name.").wait_for()
        identify(page, ada)
        page.locator(DONE, has_text="Welcome, Ada.").wait_for()
        send(page, 'Do you remember what my tortoise is called? [[text text="It is Leopold [1]."]]')
        answer = page.locator(DONE, has_text="It is Leopold").last
        answer.locator(".cite").click()
        source = answer.locator(".source[open]")
        expect(source.locator(".excerpt")).to_contain_text("Leopold")
        shot(page, "answer-sources")

        slowly = "I looked it up and there he was, " * 3
        send(page, f'[[tool name=search_memory args={{"query":"tortoise"}} delay=0.1 text="{slowly}at last."]]')
        expect(page.locator(".live .step[data-phase=finished]")).to_contain_text("memory search")
        shot(page, "answer-tool")
        page.locator(DONE, has_text="at last.").wait_for()

        send(page, '[[tool name=offer_replies args={"replies":["Yes","Maybe later"]} text="Shall we?"]]')
        page.get_by_role("button", name="Maybe later").click()
        expect(page.locator(".entry.user .body").last).to_have_text("Maybe later")
        expect(page.get_by_role("button", name="Maybe later")).to_have_count(0)


def identify(page: Any, token: str) -> None:
    """Say who the visitor is."""
    page.locator("hub-chat").evaluate("(chat, token) => chat.identify(token)", token)


def test_pictures_of_other_sites_where_they_are_allowed_and_a_logo(
    house: House,  # noqa: F811
    uvicorn_gateway: Gateway,  # noqa: F811
) -> None:
    chromium()
    logo = f"data:image/png;base64,{base64.b64encode(_picture()).decode()}"
    public_id = house.connect("web", remote_images=True, logo=logo)
    with browsing(tolerate=(ELSEWHERE,)) as page:
        page.route(ELSEWHERE, lambda route: route.fulfill(body=_picture(), content_type="image/png"))
        page.goto(f"{uvicorn_gateway.url}/chat/{public_id}")
        page.wait_for_selector(ONLINE)
        assert width(page.locator("header img").first) == 8
        send(page, f'[[text text="![a tortoise]({ELSEWHERE})"]]')
        picture = page.locator(f"{DONE} .body img")
        picture.wait_for()
        assert width(picture) == 8
        assert picture.get_attribute("alt") == "a tortoise"
        assert picture.get_attribute("referrerpolicy") == "no-referrer"


def width(picture: Any) -> int:
    """In pixels, once it is there; fails for a picture that was not loaded."""
    found = picture.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }")
    return int(found)


def test_a_gap_is_said(house: House, database: Any, redis_url: str, model_url: str, folder: Path) -> None:  # noqa: F811
    """The runner is another process, Redis is emptied in mid-answer, and the database cannot save what was said."""
    chromium()
    public_id = house.connect("web")
    with (
        running("uvicorn", folder, model_url, HUB_ROLE="gateway") as gateway,
        running("uvicorn", folder, model_url, HUB_ROLE="runner"),
        browsing(tolerate=("ERR_INTERNET_DISCONNECTED",)) as page,
    ):
        page.goto(f"{gateway.url}/chat/{public_id}")
        page.wait_for_selector(ONLINE)
        with nothing_is_saved(database, house):
            send(page, "[[normal chunks=400 delay=0.1]]")
            expect(page.locator(".live .body")).to_contain_text("word5 ")
            expect(page.locator(".gap")).to_have_count(0)
            page.context.set_offline(True)
            page.wait_for_selector("#link[data-state=offline]")
            session = database.value("SELECT id FROM session WHERE tenant_id = %s ORDER BY id DESC", house.tenant_id)
            with Redis.from_url(redis_url) as redis:
                more_comes(redis, key(house.tenant_id, "stream", session))
                redis.flushall()
            page.context.set_offline(False)
            expect(page.locator(".live .gap")).to_contain_text("was missed")
            expect(page.locator(".live .body")).to_contain_text("…")
            words = page.locator(".live .body").inner_text().split()
            assert words[0] == "…"  # what is missing is marked, and the rest goes on
            shot(page, "answer-gap")
        page.click("#stop")
        answer = page.locator(f"{DONE}[data-seq='2']")  # the stored answer is whole
        answer.wait_for()
        found = answer.locator(".body").inner_text().split()
        assert found == [f"word{number}" for number in range(len(found))]
        expect(page.locator(".gap")).to_have_count(0)


def more_comes(redis: Redis, stream: str) -> None:
    """Wait until something was said that a page which has just gone cannot have heard."""
    ends, seen = time.monotonic() + PATIENCE, redis.xlen(stream)
    while redis.xlen(stream) < seen + 2:
        assert time.monotonic() < ends, "nothing more was said"
        time.sleep(0.02)


@contextmanager
def nothing_is_saved(database: Any, house: House) -> Iterator[None]:  # noqa: F811
    """Texts of the house's running turns cannot be stored, as where the database has too much to do."""
    name = f"slow_{house.tenant_id.hex}"
    database.rows(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'too busy' USING ERRCODE = 'lock_not_available'; END $$"
    )
    database.rows(
        f"CREATE TRIGGER {name} BEFORE UPDATE OF partial ON turn FOR EACH ROW "
        f"WHEN (NEW.partial IS DISTINCT FROM OLD.partial AND NEW.partial IS NOT NULL "
        f"AND NEW.tenant_id = '{house.tenant_id}') EXECUTE FUNCTION {name}()"
    )
    try:
        yield
    finally:
        database.rows(f"DROP TRIGGER {name} ON turn")
        database.rows(f"DROP FUNCTION {name}()")
