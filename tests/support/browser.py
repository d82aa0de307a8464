"""A real Chromium, where there is one, and Django served on a socket."""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest

from tests.support.patience import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")


def chromium() -> str:
    """The path of the browser; skips the test where none is installed."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    return found


@contextmanager
def browsing(*, tolerate: tuple[str, ...] = (), **options: Any) -> Iterator[Any]:
    """A page of a fresh browser profile; anything but our own server is refused, and console errors fail the test.

    Errors that a test means to cause hold one of the words of `tolerate`.
    """
    from playwright.sync_api import expect, sync_playwright

    path = chromium()
    expect.set_options(timeout=PATIENCE * 1000)
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS), timeout=PATIENCE * 1000)
        page = browser.new_context(
            **{"viewport": {"width": 1360, "height": 900}, "locale": "en-GB", **options}
        ).new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: _check(request.url, problems))
        try:
            yield page
        finally:
            browser.close()
    left = [text for text in problems if not any(word in text for word in tolerate)]
    assert left == [], "\n".join(left)


def _check(url: str, problems: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1", "http://localhost", "ws://127.0.0.1", "data:", "blob:")):
        problems.append(f"asked for {url}")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def served() -> Iterator[str]:
    """Django over WSGI on an ephemeral port: pages and static files, no sockets."""
    from django.core.wsgi import get_wsgi_application

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")
    server = _Server(("127.0.0.1", 0), _Quiet)
    server.set_app(get_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=PATIENCE)


@contextmanager
def standing(*servers: Any) -> Iterator[None]:
    """Asynchronous servers beside a synchronous browser."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE)

    for server in servers:
        run(server.__aenter__())
    try:
        yield
    finally:
        for server in servers:
            run(server.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=PATIENCE)
        loop.close()
