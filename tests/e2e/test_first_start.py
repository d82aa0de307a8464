"""Proof of the first start: one command, then a conversation in a real browser that survives a reload mid-answer."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.conftest import Up, clean_environment
from tests.support.browser import browsing

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180), pytest.mark.xdist_group("e2e")]

WORDS = 40
LAST = f"word{WORDS - 1}"


def _say(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_an_answer_streams_and_survives_a_reload(up: Up) -> None:
    with browsing() as page:
        page.goto(up.url)
        page.wait_for_selector("#link[data-state=online]")
        _say(page, f"Please count. [[normal chunks={WORDS} delay=0.08]]")
        page.locator("#log", has_text="word5 ").wait_for()
        assert LAST not in page.inner_text("#log")  # it streams: the end is not there yet

        page.reload()

        page.locator("#log", has_text=LAST).wait_for()
        page.wait_for_selector("#log [data-seq='2']")
        said = re.findall(r"word\d+", page.inner_text("#log"))
        assert said == [f"word{number}" for number in range(WORDS)]


def test_a_stopped_answer_keeps_what_was_said(up: Up) -> None:
    with browsing() as page:
        page.goto(up.url)
        page.wait_for_selector("#link[data-state=online]")
        _say(page, "Please count for long. [[normal chunks=200 delay=0.05]]")
        page.locator("#log", has_text="word3 ").wait_for()
        page.click("#stop")
        page.wait_for_selector("#log [data-seq='2']")
        said = re.findall(r"word\d+", page.inner_text("#log"))
        assert 3 < len(said) < 200
        assert said == [f"word{number}" for number in range(len(said))]


def test_the_admin_shows_the_conversation(up: Up) -> None:
    with browsing() as page:
        page.goto(up.url)
        page.wait_for_selector("#link[data-state=online]")
        _say(page, 'A visible sentence. [[text text="A visible answer."]]')
        page.wait_for_selector("#log [data-seq='2']")

        page.goto(f"{up.url}/admin/")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", up.password)
        page.keyboard.press("Enter")
        page.locator("#tenant-choice").click()
        page.locator("#tenant-choice").press_sequentially("Demo")
        with page.expect_navigation():
            page.locator("#tenant-list [role=option]", has_text="Demo").first.click()
        page.goto(f"{up.url}/admin/hub/session/")
        page.locator("a", has_text="A visible sentence").first.click()
        page.get_by_text("A visible answer.").first.wait_for()


def test_the_command_line_sees_the_running_hub(up: Up) -> None:
    environment = {**clean_environment(), "HUB_DATA_DIR": str(up.folder / "data")}

    def hub(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "hub.cli", *arguments, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    assert hub("tenant", "create", "acme", "--plan", "starter")["slug"] == "acme"
    assert hub("agent", "create", "helper", "--tenant", "acme")["name"] == "helper"
    made = hub(
        "connection",
        "create",
        "webhook",
        "--tenant",
        "acme",
        "--agent",
        "helper",
        "--set",
        "answer=inline",
        "--set",
        "secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert made["webhook_path"].startswith("/webhooks/webhook/")
    assert hub("key", "create", "--tenant", "acme", "--scope", "chat")["key"].startswith("hub_")
