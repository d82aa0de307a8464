"""Both languages are complete and compiled."""

import subprocess
import sys
from pathlib import Path

from django.utils import translation

from hub.console.words import METRICS
from hub.templatetags.console import named

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
