"""Every string that the console can show is in the Chinese catalogue: found in the source, not by clicking."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CATALOGUE = ROOT / "hub/locale/zh_Hans/LC_MESSAGES/django.po"
SOURCES = (
    "hub/console", "hub/models", "tenants/models.py", "tenants/plans.py", "agents/models.py", "hub/settings/console.py",
)  # fmt: skip
MARKERS = frozenset({"_", "gettext", "gettext_lazy"})
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ENTRY = re.compile(rf"^msgid ((?:{_QUOTED}\n?)+)", re.MULTILINE)
_SIMPLE = re.compile(rf"{{%\s*translate\s+({_QUOTED})")
_BLOCK = re.compile(r"{%\s*blocktranslate([^}]*)%}(.*?){%\s*endblocktranslate\s*%}", re.DOTALL)
_NAME = re.compile(r"{{\s*(\w+)\s*}}")


def translated() -> set[str]:
    text = CATALOGUE.read_text(encoding="utf-8")
    return {"".join(ast.literal_eval(part) for part in re.findall(_QUOTED, found)) for found in _ENTRY.findall(text)}


def in_code(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        marked = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKERS
        if marked and isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)


def in_template(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    yield from (ast.literal_eval(found) for found in _SIMPLE.findall(text))
    for options, found in _BLOCK.findall(text):
        said = " ".join(found.split()) if "trimmed" in options else found
        yield _NAME.sub(r"%(\1)s", said.replace("%", "%%"))


def missing(paths: Iterator[Path]) -> list[str]:
    known = translated()
    found = ((path, text) for path in paths for text in (in_code if path.suffix == ".py" else in_template)(path))
    return sorted({f"{path.relative_to(ROOT)}: {text!r}" for path, text in found if text and text not in known})


@pytest.mark.parametrize("source", SOURCES)
def test_strings_of_the_code_are_translated(source: str) -> None:
    place = ROOT / source
    assert missing(iter([place] if place.is_file() else sorted(place.rglob("*.py")))) == []


def test_strings_of_the_templates_are_translated() -> None:
    assert missing(iter(sorted((ROOT / "hub/templates").rglob("*.html")))) == []
