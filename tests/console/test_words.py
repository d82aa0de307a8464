"""Both languages are complete and compiled."""

import subprocess
import sys
from pathlib import Path

from django.utils import translation
from django.utils.translation import gettext, ngettext

from hub.console.happened import event_data, reason
from hub.console.words import METRICS
from hub.templatetags.console import named
from tenants.models import Member

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_catalogues_are_compiled() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/compile_messages.py", "--check"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_nothing_is_left_untranslated() -> None:
    text = (ROOT / "hub/locale/zh_Hans/LC_MESSAGES/django.po").read_text()
    empty = [entry for entry in text.split("\n\n")[1:] if entry.rstrip().endswith('msgstr ""')]
    assert empty == []


def test_names_in_both_languages() -> None:
    assert named("Api keys") == "API keys"
    assert named("tool calls") == "Tool calls"
    with translation.override("zh-hans"):
        assert named("Api keys") == "API 密钥"
        assert str(next(iter(METRICS.values()))) == "30 天内的会话"


def test_reasons_and_data_are_in_words() -> None:
    gone = "RecipientGone: Forbidden: bot was blocked by the user"
    assert reason(gone) == "the recipient cannot be reached: Forbidden: bot was blocked by the user"
    late = "Unavailable: the callback_url answered 503; the delivery window is over"
    assert reason(late) == "the platform has a fault: the callback_url answered 503; the time for it is over"
    assert reason("skipped by mei") == "skipped by mei"
    crossed = {"metric": "storage_bytes", "used": 97 << 30, "limit": 100 << 30}
    assert event_data("quota.alert", crossed) == "storage: 97.0 GB of 100.0 GB"
    assert event_data("delivery.dead", {"detail": "WindowClosed", "attempts": 2}) == (
        "the platform takes no free answers any more · attempts: 2"
    )
    with translation.override("zh-hans"):
        assert reason(gone).startswith("无法送达接收者")
        assert event_data("delivery.retried", {"by": "mei", "was": "dead"}) == "操作者: mei · 原状态: 失败"


def test_one_and_many() -> None:
    def told(count: int) -> str:
        said = ngettext("%(count)d delivery will be sent again.", "%(count)d deliveries will be sent again.", count)
        return said % {"count": count}

    assert [told(1), told(2)] == ["1 delivery will be sent again.", "2 deliveries will be sent again."]
    with translation.override("zh-hans"):
        assert [told(1), told(2)] == ["1 条投递将重新发送。", "2 条投递将重新发送。"]
        assert [str(Member.Role.OWNER.label), gettext("owner")] == ["所有者", "负责方"]
