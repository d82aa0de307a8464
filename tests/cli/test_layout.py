"""Help fits its terminal in both languages, however wide the characters are."""

import re
from collections.abc import Iterator

import click
import pytest

from hub.cli.helping import Context
from hub.cli.language import ENGLISH, speak
from hub.cli.layout import wrap
from hub.cli.root import cli
from hub.cli.terminal import columns, fields, pad

OPTION = re.compile(r"^  (-.*?\S)  +(\S.*)$")


@pytest.mark.parametrize(
    ("text", "wide"),
    [("abc", 3), ("中文", 4), ("中a", 3), ("，。", 4), ("e\u0301", 1), ("👍🏽", 4), ("a\u200db", 2), ("…", 1), ("", 0)],
)
def test_columns_of_a_text(text: str, wide: int) -> None:
    assert columns(text) == wide
    assert columns(pad(text, 8)) == 8


def test_a_paragraph_is_broken_by_columns() -> None:
    text = "不会启动任何服务：内置数据库未运行时（例如 HUB_DATABASE_URL 未设置），只说明“未运行”这一点。"
    for width in range(20, 60):
        lines = wrap(text, width)
        assert max(map(columns, lines)) <= width
        assert all(line[0] not in "，。：）”" and line[-1] not in "（“" for line in lines), lines
        assert any("HUB_DATABASE_URL" in line for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_every_kind_of_character_stays() -> None:
    text = "한국어 ไทย עברית 👍 “…” 《（a）》 x=1，y"
    assert "".join(wrap(text, 10)).replace(" ", "") == text.replace(" ", "")


def every(found: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield found, context
    if isinstance(found, click.Group):
        for name in found.list_commands(context):
            below = found.get_command(context, name)
            assert below is not None
            yield from every(
                below, Context(below, info_name=name, parent=context, terminal_width=context.terminal_width)
            )


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("language", ["en", "zh_Hans"])
def test_help_fits_the_terminal(language: str, width: int) -> None:
    speak(language)
    try:
        names = ["-h", "--help"]
        root = Context(cli, info_name="hub", terminal_width=width - 2, help_option_names=names)
        pages = {context.command_path: found.get_help(context) for found, context in every(cli, root)}
    finally:
        speak(ENGLISH)
    assert len(pages) > 50
    for path, page in pages.items():
        lines = page.splitlines()
        # A command of an example is not broken: it is there to be copied.
        long = [line for line in lines if columns(line) > width - 2 and not re.match(r"    [A-Zh]\S+ ", line)]
        assert long == [], path
        assert len({columns(line[: found.start(2)]) for line in lines if (found := OPTION.match(line))}) <= 1, path
        assert not any(line.rstrip() != line for line in lines), path


def test_fields_stand_in_two_columns() -> None:
    speak("zh_Hans")
    try:
        lines = fields({"name": "a", "webhook": "b", "debounce_ms": 0, "tools": ["x", "y"], "detail": "", "part": None})
    finally:
        speak(ENGLISH)
    assert [line.split() for line in lines] == [
        ["名称", "a"],
        ["Webhook", "地址", "b"],
        ["debounce_ms", "0"],
        ["工具", "x;", "y"],
    ]
    assert {columns(line[: re.search(r"\S+( y)?$", line).start()]) for line in lines[:3]} == {16}  # type: ignore[union-attr]
