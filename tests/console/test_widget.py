"""The chat widget in a real browser: on pages of other sites, with files, edits, several tabs, a gateway that dies."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hmac
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.console.test_chat_page import NO_SOCKETS
from tests.edges.conftest import folder, gateways, house, model_url, running, uvicorn_gateway  # noqa: F401 (fixtures)
from tests.support.axe import serious
from tests.support.browser import browsing, chromium

if TYPE_CHECKING:
    from tests.edges.conftest import Gateway, House

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).resolve().parent.parent.parent
WIDGET = ROOT / "hub" / "static" / "chat" / "widget.js"
MOST_BYTES = 35_000
SHOTS = os.environ.get("SHOTS", "")
DONE = ".entry.assistant:not(.live)"
ONLINE = "#link[data-state=online]"
RICH = """Both plans hold **every channel**.

| Plan | Seats |
|------|------:|
| One | 3 |

1. Open `Settings`
2. Choose

```python
print('hello')  # and more
```

> See [the guide](https://example.org)."""


def send(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def said(page: Any, role: str = "assistant") -> list[str]:
    return [str(text) for text in page.locator(f".entry.{role}:not(.live) .body").all_inner_texts()]


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.wait_for_timeout(400)
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


@contextmanager
def site(
    hub: str, public_id: str, more: str = "", *, page: str = "<main><h1>A shop</h1></main>", styles: str = ""
) -> Iterator[str]:
    """A page of somebody else, with a strict policy and styles that must not leak in; its origin."""
    script = f'<script src="{hub}/widget.js" data-connection="{public_id}" {more}></script>'
    body = (
        '<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,">'
        f"{'<link rel=stylesheet href=/style.css>' if styles else ''}{page}{script}</html>"
    )
    ws = hub.replace("http", "ws", 1)
    own = "'self'" if styles else "'none'"
    policy = f"default-src 'none'; script-src {hub}; connect-src {hub} {ws}; img-src data: blob: {hub}; style-src {own}"

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            kind, found = ("css", styles) if self.path == "/style.css" else ("html", body)
            self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
            self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            self.wfile.write(found.encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# ---- the script ----


def test_the_script_is_small_and_names_no_other_place() -> None:
    built = WIDGET.read_bytes()
    assert len(gzip.compress(built, 9)) <= MOST_BYTES
    text = built.decode()
    assert "innerHTML" not in text
    assert "eval(" not in text
    assert not [word for word in ("//cdn", "googleapis", "unpkg", "@import") if word in text]


def test_the_script_is_served_for_every_site_and_kept(uvicorn_gateway: Gateway) -> None:  # noqa: F811
    address = f"{uvicorn_gateway.url}/widget.js"
    with urlopen(Request(address, headers={"Accept-Encoding": "gzip"}), timeout=10) as answer:
        assert gzip.decompress(answer.read()) == WIDGET.read_bytes()
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert "max-age=300" in answer.headers["Cache-Control"]
        etag = answer.headers["ETag"]
    kept = Request(address, headers={"Accept-Encoding": "gzip", "If-None-Match": etag})
    with pytest.raises(Exception, match="304"):
        urlopen(kept, timeout=10)
    version = etag.strip('"').removesuffix("-gzip")
    with urlopen(f"{address}?v={version}", timeout=10) as answer:
        assert "immutable" in answer.headers["Cache-Control"]


# ---- on other sites ----


@pytest.mark.parametrize("way", ["sockets", "events"])
def test_on_a_page_of_another_site(house: House, uvicorn_gateway: Gateway, way: str) -> None:  # noqa: F811
    chromium()
    row = house.connect_row("web", title="Acme", greeting="Hello!", suggestions="What do you sell?", colour="#0a7d5a")
    with site(uvicorn_gateway.url, row.public_id) as shop, browsing() as page:
        row.allowed_origins = [shop]
        house.run(row.save)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda line: asked.append(line.url))
        if way == "events":
            page.context.add_init_script(NO_SOCKETS)
        page.goto(shop)
        page.wait_for_selector("#launcher")
        shot(page, "widget-launcher")
        assert page.locator(".panel").is_hidden()
        page.click("#launcher")
        page.wait_for_selector(ONLINE)
        assert page.locator(".welcome h2").inner_text() == "Hello!"
        assert page.evaluate("document.activeElement.tagName") == "HUB-CHAT"
        page.get_by_role("button", name="What do you sell?").click()
        page.wait_for_selector(DONE)
        send(page, f'[[text text="{RICH}"]]')
        page.wait_for_selector(f"{DONE} table")
        shot(page, "widget-answer")
        with page.expect_popup() as opened:
            page.click("#popout")
        opened.value.locator(f"{DONE} table").wait_for()  # the same visitor, the same conversation
        page.click("#launcher")
        page.press("#text", "Escape")
        assert page.locator(".panel").is_hidden()
        page.reload()  # it comes back with its token
        page.wait_for_selector("#launcher")
        page.click("#launcher")
        page.wait_for_selector(f"{DONE} table")
        page.press("#text", "Escape")
        assert page.evaluate("document.querySelector('hub-chat').shadowRoot.activeElement.id") == "launcher"
        places = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
        assert places == {urlsplit(shop).netloc, urlsplit(uvicorn_gateway.url).netloc}


def test_a_page_that_is_not_allowed_shows_nothing(house: House, uvicorn_gateway: Gateway) -> None:  # noqa: F811
    chromium()
    public_id = house.connect("web")
    told = ("CORS", "403", "ERR_FAILED")
    with site(uvicorn_gateway.url, public_id) as shop, browsing(tolerate=told) as page:
        with page.expect_event("requestfailed", lambda request: "/settings" in request.url):
            page.goto(shop)
        page.locator("hub-chat").wait_for(state="attached")
        page.wait_for_timeout(200)
        assert page.locator("#launcher").is_hidden()


def test_the_page_speaks_with_the_widget(house: House, uvicorn_gateway: Gateway) -> None:  # noqa: F811
    chromium()
    public_id = house.connect("web", origins=("*",))
    with site(uvicorn_gateway.url, public_id, 'data-position="left" data-language="zh"') as shop, browsing() as page:
        page.goto(shop)
        page.wait_for_selector(".frame.left #launcher")
        page.evaluate(
            "() => { window.heard = []; for (const name of ['open', 'sent', 'message', 'unread', 'close'])"
            " hubChat.on(name, (detail) => heard.push([name, detail?.role ?? detail?.count ?? null])); }"
        )
        page.evaluate("hubChat.open()")
        page.wait_for_selector(ONLINE)
        page.locator(".frame.left").wait_for()  # the connection's own corner came with the line
        assert page.locator("#text").get_attribute("placeholder") == "输入消息"
        page.evaluate("hubChat.send('[[normal chunks=3 first_delay=0.4]]')")
        page.locator(".live").wait_for()
        page.evaluate("hubChat.close()")
        page.locator("#badge", has_text="1").wait_for()
        heard = page.evaluate("heard")
        for event in (["open", None], ["sent", None], ["close", None], ["message", "assistant"], ["unread", 1]):
            assert event in heard, heard
        page.click("#launcher")
        page.locator("#badge").wait_for(state="hidden")
        page.reload()
        page.wait_for_selector(DONE)  # it was open, and is again, with what was said
        page.evaluate("hubChat.destroy()")
        assert page.locator("hub-chat").count() == 0


def test_on_a_phone_the_panel_is_the_screen(house: House, uvicorn_gateway: Gateway) -> None:  # noqa: F811
    chromium()
    public_id = house.connect("web", origins=("*",))
    phone: dict[str, Any] = {
        "viewport": {"width": 390, "height": 760},
        "color_scheme": "dark",
        "reduced_motion": "reduce",
    }
    with site(uvicorn_gateway.url, public_id) as shop, browsing(**phone) as page:
        page.goto(shop)
        page.click("#launcher")
        page.wait_for_selector(ONLINE)
        panel = page.locator(".panel")
        assert panel.get_attribute("aria-modal") == "true"
        assert panel.bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 760}
        focused = "document.querySelector('hub-chat').shadowRoot.activeElement?.id"
        seen = []
        for _ in range(8):
            page.keyboard.press("Tab")
            seen.append(page.evaluate(focused))
        assert {"text", "close", "log"} <= set(seen)
        assert None not in seen  # focus never leaves what covers the page
        page.keyboard.press("Escape")
        assert panel.is_hidden()
        assert page.evaluate(focused) == "launcher"


def test_a_site_says_who_its_visitor_is(house: House, uvicorn_gateway: Gateway) -> None:  # noqa: F811
    chromium()
    secret = "a secret that the site and the hub share"
    public_id = house.connect("web", origins=("*",), identity_secret=secret)
    with site(uvicorn_gateway.url, public_id) as shop:
        with browsing() as page:
            page.goto(shop)
            page.evaluate("(token) => hubChat.identify(token)", _signed(secret, public_id))
            page.click("#launcher")
            page.wait_for_selector(ONLINE)
            send(page, '[[text text="hello Ada"]]')
            page.locator(DONE, has_text="hello Ada").wait_for()
        with browsing() as page:  # another device
            page.goto(shop)
            page.click("#launcher")
            page.wait_for_selector(ONLINE)
            page.evaluate("(token) => hubChat.identify(token)", _signed(secret, public_id))
            page.locator(DONE, has_text="hello Ada").wait_for()
        with browsing() as page:
            page.goto(shop)
            page.evaluate("(token) => hubChat.identify(token)", _signed("wrong", public_id))
            page.click("#launcher")
            page.locator(".notice.bad", has_text="guest").wait_for()


def _signed(secret: str, audience: str) -> str:
    """What the site's server gives its page."""
    claims = {"sub": "ada", "aud": audience, "exp": int(time.time()) + 600, "name": "Ada"}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    seal = hmac.digest(secret.encode(), text, "sha256")
    return (text + b"." + base64.urlsafe_b64encode(seal).rstrip(b"=")).decode()


# ---- on the hub's own page ----


@pytest.fixture
def address(house: House, uvicorn_gateway: Gateway) -> str:  # noqa: F811
    chromium()
    return f"{uvicorn_gateway.url}/chat/{house.connect('web')}"


def test_a_file_goes_with_a_message(address: str, tmp_path: Path) -> None:
    picture = tmp_path / "plan.png"
    picture.write_bytes(_picture())
    with browsing() as page:
        page.goto(address)
        page.wait_for_selector(ONLINE)
        page.set_input_files("#files", [str(picture)])
        page.wait_for_selector(".chip.there")
        shot(page, "chat-upload")
        send(page, "[[normal chunks=2]]")
        page.wait_for_selector(f"{DONE}")
        shown = page.locator(".entry.user .thumb img")
        shown.wait_for()
        page.wait_for_timeout(200)
        assert shown.evaluate("(image) => image.complete && image.naturalWidth") == 8
        page.reload()
        page.locator(".entry.user .thumb img").wait_for()


def test_a_file_with_a_long_name_stays_on_a_phones_screen(address: str, tmp_path: Path) -> None:
    named = tmp_path / f"{'一份名字很长的报价单-' * 4}with-a-name-that-does-not-end.txt"
    named.write_text("words")
    with browsing(viewport={"width": 390, "height": 780}) as page:
        page.goto(address)
        page.wait_for_selector(ONLINE)
        page.set_input_files("#files", [str(named)])
        page.wait_for_selector(".chip.there")
        send(page, "[[normal chunks=2]] Here it is.")
        page.wait_for_selector(DONE)
        edges = page.locator(".entry.user :is(.body, .file)").evaluate_all(
            "(parts) => parts.map((part) => part.getBoundingClientRect().right)"
        )
        assert len(edges) == 2
        assert max(edges) <= 390, edges
        shot(page, "chat-long-name")


def test_progress_is_shown_and_a_refused_file_says_so(address: str, tmp_path: Path) -> None:
    (tmp_path / "plan.txt").write_bytes(b"words " * 60_000)
    (tmp_path / "program.exe").write_bytes(b"MZ" + bytes(1000))
    with browsing() as page:
        page.goto(address)
        page.wait_for_selector(ONLINE)
        line = page.context.new_cdp_session(page)
        line.send("Network.enable")
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 250_000}
        line.send("Network.emulateNetworkConditions", slow)
        page.set_input_files("#files", [str(tmp_path / "plan.txt")])
        page.locator(".chip progress:not([value='0'])").wait_for(state="attached")
        assert page.locator("#send").is_disabled()
        page.wait_for_selector(".chip.there")
        page.set_input_files("#files", [str(tmp_path / "program.exe")])
        page.locator(".notice.bad", has_text="program.exe").wait_for()


def test_a_message_is_changed_and_said_again(address: str) -> None:
    with browsing() as page:
        page.goto(address)
        page.wait_for_selector(ONLINE)
        send(page, 'First. [[text text="one"]]')
        page.locator(DONE, has_text="one").wait_for()
        send(page, 'Second. [[text text="two"]]')
        page.locator(DONE, has_text="two").wait_for()
        page.locator(".entry.user").nth(1).hover()
        page.locator(".entry.user").nth(1).locator(".edit").click()
        assert page.input_value("#text").startswith("Second.")
        shot(page, "chat-edit")
        send(page, 'Third. [[text text="three"]]')
        page.locator(DONE, has_text="three").wait_for()
        assert said(page) == ["one", "three"]
        page.reload()
        page.locator(DONE, has_text="three").wait_for()
        assert said(page) == ["one", "three"]
        page.locator(f"{DONE} .again").last.click()
        page.locator(".entry.user[data-seq='7']").wait_for()
        page.locator(f"{DONE}[data-seq='8']").wait_for()
        assert said(page) == ["one", "three"]
        assert page.locator(".entry.user").count() == 2


def test_a_text_that_is_too_long_is_kept_whole_and_said_to_be_so(address: str) -> None:
    pasted = "word " * 8_000
    with browsing() as page:
        page.goto(address)
        page.wait_for_selector(ONLINE)
        page.fill("#text", pasted)
        page.keyboard.press("Enter")
        page.get_by_text("too long").wait_for()
        assert page.input_value("#text") == pasted
        assert page.locator(".entry.user").count() == 0


def test_a_turn_that_failed_is_tried_again(address: str) -> None:
    with browsing() as page:
        page.goto(address)
        page.wait_for_selector(ONLINE)
        send(page, "[[400 times=1]] please")
        page.locator(".entry.broken").wait_for()
        shot(page, "chat-broken")
        page.get_by_role("button", name="Try again").click()
        page.locator(f"{DONE}:not(.broken)").wait_for()
        assert page.locator(".entry.broken").count() == 0
        assert page.locator(".entry.user").count() == 1


def test_two_tabs_are_in_step(address: str) -> None:
    with browsing() as one:
        one.goto(address)
        one.wait_for_selector(ONLINE)
        send(one, '[[text text="hello"]]')
        one.locator(DONE, has_text="hello").wait_for()
        two = one.context.new_page()
        two.goto(address)
        two.locator(DONE, has_text="hello").wait_for()
        send(two, "[[normal chunks=60 delay=0.03]]")
        one.bring_to_front()  # a tab that nobody sees is not drawn
        one.locator(".live .body", has_text="word5 ").wait_for()
        for page in (one, two):
            page.locator(DONE, has_text="word59").wait_for()
            assert said(page) == said(one)
            assert page.locator(".entry.user").count() == 2
        one.click("#anew")
        one.get_by_role("button", name="Start anew").last.click()
        for page in (one, two):
            page.wait_for_selector("#empty:not([hidden])")
            assert page.locator(".entry").count() == 0


def test_what_is_written_while_away_is_kept_over_a_reload(address: str) -> None:
    with browsing(tolerate=("ERR_INTERNET_DISCONNECTED",)) as page:
        page.goto(address)
        page.wait_for_selector(ONLINE)
        page.context.set_offline(True)
        page.locator(".notice", has_text="offline").wait_for()
        send(page, 'kept [[text text="come back"]]')
        assert page.locator(".pending").count() == 1
        shot(page, "chat-away")
        page.context.set_offline(False)
        page.reload()
        page.locator(DONE, has_text="come back").wait_for()
        page.reload()
        page.locator(DONE, has_text="come back").wait_for()
        assert page.locator(".entry.user").count() == 1


def test_the_form_before_the_first_message(house: House, uvicorn_gateway: Gateway) -> None:  # noqa: F811
    chromium()
    public_id = house.connect("web", form="email*: Your e-mail\ntopic(Sales|Support): About")
    with browsing(viewport={"width": 900, "height": 420}) as page:
        page.goto(f"{uvicorn_gateway.url}/chat/{public_id}")
        page.wait_for_selector("#ask")
        page.wait_for_selector(ONLINE)
        places = page.locator("#log").evaluate("(log) => [log.scrollHeight > log.clientHeight, log.scrollTop]")
        assert places == [True, 0]  # what does not fit is read from its beginning
        shot(page, "chat-form")
        assert page.locator("#composer").is_hidden()
        page.fill("#ask [name=email]", "ada@example.org")
        page.select_option("#ask [name=topic]", "Support")
        page.click("#ask button[type=submit]")
        send(page, '[[text text="thank you"]]')
        page.locator(DONE, has_text="thank you").wait_for()
        page.reload()
        page.locator(DONE, has_text="thank you").wait_for()
        assert page.locator("#ask").count() == 0


def test_earlier_messages_come_when_one_scrolls_up(house: House, uvicorn_gateway: Gateway) -> None:  # noqa: F811
    chromium()
    row = house.connect_row("web")
    with browsing() as page:
        page.goto(f"{uvicorn_gateway.url}/chat/{row.public_id}")
        page.wait_for_selector(ONLINE)
        send(page, '[[text text="answer 2."]]')
        page.locator(DONE, has_text="answer 2.").wait_for()
        house.run(lambda: _talked(row, 80))
        page.reload()
        page.locator(DONE, has_text="answer 80.").wait_for()
        assert page.locator(DONE).count() == 25
        page.locator("#log").hover()
        page.mouse.wheel(0, -20_000)
        page.locator("[data-seq='1']").wait_for(state="attached")
        assert said(page) == [f"answer {number}." for number in range(2, 81, 2)]
        assert page.locator(".older").is_hidden()


def _talked(connection: Any, until: int) -> None:
    """The connection's one session goes on to this number, as the hub would have written it."""
    from hub.models import Message, Session
    from hub.pipeline.bodies import Body, body_cell, pack
    from hub.pipeline.reading import vault
    from tenants.ids import uuid7

    session = Session.objects.get(connection_id=connection.id)
    first = Message.objects.filter(session=session).earliest("seq")
    vault().load_sync(session.tenant_id)
    for seq in range(3, until + 1):
        role, status = ("assistant", "final") if seq % 2 == 0 else ("user", "accepted")
        row = Message(id=uuid7(), tenant_id=session.tenant_id, session=session, seq=seq, role=role, status=status)
        row.turn_id, row.created = first.turn_id, first.created
        row.body = vault().seal(
            body_cell(row.tenant_id, row.id), pack(Body(text=f"answer {seq}.", external_id=str(seq)))
        )
        row.save(force_insert=True)
    Session.objects.filter(id=session.id).update(last_seq=until)


# ---- for everybody ----


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(house: House, uvicorn_gateway: Gateway, scheme: str) -> None:  # noqa: F811
    chromium()
    public_id = house.connect("web", origins=("*",), suggestions="One?\nTwo?", form="email*: Your e-mail")
    with site(uvicorn_gateway.url, public_id) as shop, browsing(color_scheme=scheme, bypass_csp=True) as page:
        page.goto(f"{uvicorn_gateway.url}/chat/{public_id}")
        page.wait_for_selector("#ask")
        assert serious(page) == []
        page.fill("#ask [name=email]", "ada@example.org")
        page.click("#ask button[type=submit]")
        send(page, f'[[text text="{RICH}"]]')
        page.wait_for_selector(f"{DONE} table")
        page.locator(".entry.assistant").hover()
        assert serious(page) == []
        page.goto(shop)
        page.click("#launcher")
        page.wait_for_selector(ONLINE)
        assert serious(page) == []


# ---- a gateway that dies ----


def test_an_answer_survives_the_death_of_its_gateway(
    house: House,  # noqa: F811
    folder: Path,  # noqa: F811
    model_url: str,  # noqa: F811
    uvicorn_gateway: Gateway,  # noqa: F811
) -> None:
    chromium()
    public_id = house.connect("web")
    words = [f"word{number}" for number in range(60)]
    with (
        running("uvicorn", folder, model_url) as doomed,
        forwarding([doomed.port, uvicorn_gateway.port]) as port,
        browsing(tolerate=("ERR_", "WebSocket connection")) as page,
    ):
        page.goto(f"http://127.0.0.1:{port}/chat/{public_id}")
        page.wait_for_selector(ONLINE)
        send(page, "[[normal chunks=60 delay=0.06]]")
        page.locator(".live .body", has_text="word9 ").wait_for()
        doomed.process.kill()
        page.locator(DONE, has_text="word59").wait_for()
        assert said(page)[0].split() == words
        assert page.locator(".entry.user").count() == 1


@contextmanager
def forwarding(ports: list[int]) -> Iterator[int]:
    """A port that leads to the first of these that takes a connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for side in (source, target):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def lead(client: socket.socket) -> None:
        for port in ports:
            with contextlib.suppress(OSError):
                inner = socket.create_connection(("127.0.0.1", port), timeout=2)
                inner.settimeout(None)
                threading.Thread(target=pump, args=(inner, client), daemon=True).start()
                pump(client, inner)
                return
        client.close()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=lead, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def _picture() -> bytes:
    import struct
    import zlib

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + b"\x20\x80\xc0" * 8 for _ in range(8)))
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")
