"""Whatever the command can say is in the Chinese catalogue: found in the source and in the commands, not by running."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from scripts.cli_words import CATALOGUE, ERRORS, FIRST, catalogue, texts
from scripts.compile_messages import FOLDERS, read

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = ROOT / "hub/locale/zh_Hans/LC_MESSAGES/django.po"
SHOWN = ("result", "progress", "bar", "confirm", "echo", "table")
"""Calls that show what they are given."""


def placeholders(text: str) -> set[str]:
    return {name for _literal, name, _spec, _conversion in Formatter().parse(text) if name}


def test_the_catalogue_is_in_step_with_the_program() -> None:
    now = CATALOGUE.read_text(encoding="utf-8")
    assert now == catalogue(read(CATALOGUE)), "run: python scripts/cli_words.py"


def test_everything_is_translated() -> None:
    assert ", fuzzy" not in CATALOGUE.read_text(encoding="utf-8")
    translated = read(CATALOGUE)
    assert [one.said for one in texts() if not translated.get(one.key)] == []


def test_translations_have_the_same_placeholders() -> None:
    translated = read(CATALOGUE)
    for one in texts():
        wanted, found = placeholders(one.said) | placeholders(one.plural), placeholders(translated[one.key])
        if one.place == "click":  # gives more than one language needs
            assert found <= wanted, one.said
        else:
            assert found == wanted, one.said


def test_both_catalogues_agree() -> None:
    ours, consoles = read(CATALOGUE), read(CONSOLE)
    shared = sorted((ours.keys() & consoles.keys()) - {""})
    assert len(shared) > 30
    assert {text: ours[text] for text in shared} == {text: consoles[text] for text in shared}


def test_chinese_has_its_own_punctuation() -> None:
    wrong = re.compile(
        r"[\u4e00-\u9fff][,;:?!()]|[,;?!()][\u4e00-\u9fff]|[\u4e00-\u9fff]\.\.\.|[\u4e00-\u9fff][A-Za-z]|[A-Za-z][\u4e00-\u9fff]"
    )
    translated = read(CATALOGUE)
    assert [text for one in texts() if wrong.search(text := translated[one.key])] == []


def test_catalogues_with_plurals_are_compiled(tmp_path: Path) -> None:
    """What the standard library reads is what the source says, a plural's one form for every number."""
    import gettext

    assert CATALOGUE.is_relative_to(FOLDERS[1])
    found = gettext.translation("hub", FOLDERS[1], ["zh_Hans"])
    assert found.gettext("Usage:") == "用法："
    for count in (1, 2):
        text = found.ngettext(
            "Option {name!r} requires an argument.", "Option {name!r} requires {nargs} arguments.", count
        )
        assert text == "选项 {name!r} 需要 {nargs} 个值。"


def literals(node: ast.expr) -> Iterator[str]:
    """Texts in an expression that is shown; what is in calls is looked at there, and names of values are no words."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Call | ast.Dict | ast.Attribute | ast.Subscript):
        return
    else:
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.expr):
                yield from literals(inner)


def unmarked(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in (*FIRST, *ERRORS) and node.args and isinstance(node.args[0], ast.JoinedStr):
            yield f"{path.name}:{node.lineno}: {name} of an f-string"
        if name in SHOWN:
            shown = [*node.args, *(one.value for one in node.keywords if one.arg == "empty")]
            said = [text for one in shown for text in literals(one) if re.search(r"[A-Za-z]{2}", text)]
            yield from (f"{path.name}:{node.lineno}: {text!r}" for text in said)


@pytest.mark.parametrize("path", sorted((ROOT / "hub/cli").rglob("*.py")), ids=lambda path: path.name)
def test_what_is_shown_goes_through_the_catalogue(path: Path) -> None:
    assert list(unmarked(path)) == []
