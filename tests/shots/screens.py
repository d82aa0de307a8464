"""The pictures: which page, how wide, in which light and language, and what happens before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.console.test_widget import site
from tests.e2e.conftest import brought_up
from tests.shots.demo import PASSWORD, Shop, make_shop
from tests.shots.model import Speaker
from tests.shots.png import reduced
from tests.shots.words import ORDER, ORDER_ZH, SATURDAY, SATURDAY_ZH
from tests.support.browser import browsing, standing

WIDE: Mapping[str, Any] = {"viewport": {"width": 1280, "height": 800}}
TALL: Mapping[str, Any] = {"viewport": {"width": 1280, "height": 1240}}
PHONE: Mapping[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5}
DARK: Mapping[str, Any] = {"color_scheme": "dark"}
ZH: Mapping[str, Any] = {"locale": "zh-CN"}
ONLINE = "#link[data-state=online]"
STILL_MS = 450
"""For fonts and transitions."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the pictures are taken."""

    url: str
    shop: Shop


@dataclass(frozen=True, slots=True)
class Screen:
    """One picture."""

    act: Callable[[Any, Stage], None]
    options: Mapping[str, Any] = field(default_factory=dict)


def chat(*said: str) -> Callable[[Any, Stage], None]:
    """The chat page after these messages were answered."""

    def act(page: Any, stage: Stage) -> None:
        page.goto(f"{stage.url}/chat/{stage.shop.connections['Website'].public_id}")
        _converse(page, said)

    return act


def _converse(page: Any, said: Sequence[str]) -> None:
    page.wait_for_selector(ONLINE)
    for number, text in enumerate(said, 1):
        page.fill("#text", text)
        page.press("#text", "Enter")
        page.locator(f".entry.assistant:not(.live)[data-seq='{2 * number}']").wait_for()
    if said:
        page.mouse.move(5, 5)


def widget(page: Any, stage: Stage) -> None:
    """The shop's own page with the chat in its corner."""
    with site(stage.url, str(stage.shop.connections["Website"].public_id), page=SHOP, styles=STYLES) as address:
        page.goto(address)
        page.click("#launcher")
        _converse(page, (ORDER, SATURDAY))
        page.wait_for_timeout(STILL_MS)


def admin(path: str | Callable[[Shop], str], *, user: str = "mei") -> Callable[[Any, Stage], None]:
    """A page of the console."""

    def act(page: Any, stage: Stage) -> None:
        page.goto(f"{stage.url}/admin/")
        page.fill("#id_username", user)
        page.fill("#id_password", PASSWORD)
        page.click("#login-form button[type=submit]")
        page.wait_for_selector("#tenant-choice")
        page.goto(f"{stage.url}/admin/{path if isinstance(path, str) else path(stage.shop)}")

    return act


def swagger(page: Any, stage: Stage) -> None:
    """The API's own page."""
    page.goto(f"{stage.url}/api/docs/")
    page.locator(".swagger-ui .opblock").first.wait_for()


def slack(page: Any, stage: Stage) -> None:
    """Setting up a channel: the steps on the left of its form."""
    admin("hub/connection/add/")(page, stage)
    page.get_by_role("link", name="Slack").click()
    page.fill("#id_name", "Customer Slack")
    page.fill("#id_option_bot_token", "xoxb-0000-0000")
    page.mouse.move(5, 5)


def agent(page: Any, stage: Stage) -> None:
    """The agent's settings, down to the way that its turns take."""
    admin(f"agents/agent/{stage.shop.agent.id}/change/")(page, stage)
    page.locator(".agent-extras").evaluate("(part) => part.scrollIntoView({block: 'start'})")


SESSION = admin(lambda shop: f"hub/session/{shop.sessions[0].id}/change/")
SCREENS: Mapping[str, Screen] = {
    "chat": Screen(chat(ORDER, SATURDAY), WIDE),
    "chat-dark": Screen(chat(ORDER, SATURDAY), {**WIDE, **DARK}),
    "chat-zh": Screen(chat(ORDER_ZH, SATURDAY_ZH), {**WIDE, **ZH}),
    "chat-phone": Screen(chat(ORDER, SATURDAY), {**PHONE, **DARK}),
    "chat-greeting": Screen(chat(), PHONE),
    "widget": Screen(widget, WIDE),
    "dashboard": Screen(admin("?period=month"), TALL),
    "dashboard-dark": Screen(admin("?period=month", user="root"), {**TALL, **DARK}),
    "dashboard-zh": Screen(admin("?period=week"), {**TALL, **ZH}),
    "dashboard-phone": Screen(admin("?period=week"), PHONE),
    "start": Screen(admin("start/model/"), WIDE),
    "connection": Screen(slack, TALL),
    "session": Screen(SESSION, {"viewport": {"width": 1280, "height": 960}}),
    "trace": Screen(admin(lambda shop: f"hub/turn/{shop.looked_up.id if shop.looked_up else ''}/change/"), TALL),
    "dead-letters": Screen(admin("hub/delivery/?status=letters"), WIDE),
    "agent": Screen(agent, TALL),
    "limits": Screen(admin("tenants/quota/"), WIDE),
    "api": Screen(swagger, WIDE),
}
SHOP = """<header><b>Lantern Home</b><nav>Lamps Shades Repairs Journal</nav></header><main><h1>Light for long
evenings</h1><p>Paper, brass and linen, made by hand in small numbers. Every lamp is repaired for life.</p>
<ul><li>Paper moon<b>89</b></li><li>Brass reader<b>140</b></li><li>Linen drum<b>115</b></li></ul></main>"""
STYLES = """body { margin: 0; font: 17px/1.6 Georgia, serif; color: #2c2620; background: #faf5ec; }
header { display: flex; justify-content: space-between; padding: 24px 64px; }
nav { word-spacing: 28px; color: #7a6c5c; } main { padding: 40px 64px; max-width: 720px; }
h1 { font-size: 64px; line-height: 1.05; font-weight: 400; margin: 24px 0; }
ul { display: flex; gap: 20px; list-style: none; padding: 0; margin-top: 48px; }
li { flex: 1; padding: 150px 18px 16px; border-radius: 14px;
  background: radial-gradient(circle at 50% 70px, #fff3c9 0 34px, #f6dfa6 36px, #efe3cc 110px); }
li b { float: right; font-weight: 400; color: #7a6c5c; }"""


def take(place: Path, folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Take the pictures with these names (all, where there are none) into the folder; their sizes in bytes."""
    if unknown := sorted(set(names) - set(SCREENS)):
        raise SystemExit(f"no such picture: {', '.join(unknown)}; there are: {', '.join(SCREENS)}")
    sizes: dict[str, int] = {}
    speaker = Speaker()
    with standing(speaker), brought_up(place, speaker.url) as up:
        stage = Stage(up.url, make_shop())
        for name in names or SCREENS:
            picture = _picture(SCREENS[name], stage)
            (folder / f"{name}.png").write_bytes(picture)
            sizes[name] = len(picture)
    return sizes


def _picture(screen: Screen, stage: Stage) -> bytes:
    with browsing(reduced_motion="reduce", **screen.options) as page:
        screen.act(page, stage)
        page.wait_for_timeout(STILL_MS)
        taken = page.screenshot()
        blank = page.context.browser.new_page()
        return reduced(blank, taken)
