"""Every string that the console can show is in the Chinese catalogue: found in the source, not by clicking."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from django.contrib.admin.utils import label_for_field
from django.utils import translation

from channels_adapters.registry import AdapterType, adapters
from hub.console.admin import site
from hub.console.words import ACTIONS, EVENT_NAMES

ROOT = Path(__file__).resolve().parent.parent.parent
CATALOGUE = ROOT / "hub/locale/zh_Hans/LC_MESSAGES/django.po"
SOURCES = (
    "hub/console", "hub/models", "tenants/models.py", "tenants/plans.py", "agents/models.py", "hub/settings/console.py",
)  # fmt: skip
MARKERS = {"_": 0, "gettext": 0, "gettext_lazy": 0, "ngettext": 0, "pgettext_lazy": 1}
"""Which argument of a function is a text."""
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
        if marked and isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            said = node.args[MARKERS[node.func.id]]
            if isinstance(said, ast.Constant):
                yield str(said.value)


def in_template(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    yield from (ast.literal_eval(found) for found in _SIMPLE.findall(text))
    for options, found in _BLOCK.findall(text):
        one = found.partition("{% plural %}")[0]
        said = " ".join(one.split()) if "trimmed" in options else one
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


def test_what_adapters_ask_for_is_translated() -> None:
    known = translated()
    said = {text for kind in adapters().values() for text in asked_by(kind)}
    assert sorted(said - known) == []


def asked_by(kind: AdapterType) -> Iterator[str]:
    """Names of an adapter's fields, what it says of them, and the values to choose from."""
    for name, info in kind.credentials_type.model_fields.items():
        yield name.replace("_", " ")
        if info.description:
            yield " ".join(info.description.replace("`", "").split())
        if get_origin(info.annotation) is Literal:
            yield from (str(value) for value in get_args(info.annotation) if value)


def test_columns_of_all_lists_are_translated() -> None:
    with translation.override("zh-hans"):
        named = {
            f"{model.__name__}.{column}": str(label_for_field(column, model, admin))
            for model, admin in site._registry.items()
            for column in (*admin.list_display, "whose")
            if column not in ("action_checkbox", "enter") and hasattr(admin, "whose")
        }
    assert {where: label for where, label in named.items() if label.isascii()} == {}


def test_what_happens_has_words() -> None:
    """Kinds of events and of audited changes, as they are written in the source."""
    written = {"note": set(), "record": set()}  # type: dict[str, set[str]]
    for package in ("hub", "tenants", "memory", "agents"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in written:
                    found = [one.value for one in node.args if isinstance(one, ast.Constant)]
                    written[node.func.id] |= {str(one) for one in found if re.fullmatch(r"[a-z_]+\.[a-z_]+", str(one))}
    assert len(written["note"]) > 8
    assert len(written["record"]) > 8
    assert sorted(written["note"] - set(EVENT_NAMES)) == []
    assert sorted(written["record"] - set(ACTIONS)) == []
