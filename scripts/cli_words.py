"""Bring hub/cli/locale/*/LC_MESSAGES/hub.po in step with the program: `python scripts/cli_words.py`.

What the command can say is found in the source and in the commands themselves, click's own words among it. Kept
translations stay; new texts come with an empty one, and those that nobody says any more go. Then translate, and run
scripts/compile_messages.py. A test fails while a text is missing, untranslated or stale.
"""

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hub.cli import helping, root, terminal  # noqa: E402
from hub.cli.language import CHINESE, DOMAIN, LOCALE  # noqa: E402
from scripts.compile_messages import read  # noqa: E402

CATALOGUE = Path(LOCALE) / CHINESE / "LC_MESSAGES" / f"{DOMAIN}.po"
SOURCES = ("hub/cli", "hub/env.py", "hub/expected.py", "hub/embedded", "tenants/db/roles.py")
ADAPTERS = ("channels_adapters/platforms", "channels_adapters/pull.py", "channels_adapters/signing.py")
FIRST = ("_", "Phrase", "marked", "Fault", "Finding", "bad", "note", "Expected", "FieldRefused")
ERRORS = ("CommandFailed", "Unreachable", "EmbeddedError", "ServerFailed", "FolderInUse")
MARKERS: dict[str, int | str] = {**dict.fromkeys((*FIRST, *ERRORS), 0), "LoginRefused": 2}
"""Calls whose text is said, and where in them it stands."""
OF_ADAPTERS: dict[str, int | str] = {"ValueError": 0, "FieldRefused": 0, "Probe": "detail"}
OF_CLICK = ("core", "exceptions", "formatting", "parser", "termui", "types")
UNHEARD = (
    "Boolean option",
    "Choice(",
    "Deprec",
    "Press any",
    "Repeat for",
    "Error: The two",
    "Unknown color",
    "deprec",
    "(dyn",
)
"""Beginnings of what click says of things that the command does not use."""
UNMARKED = (*helping.USAGE, helping.HELP_OPTION, "required")
"""What click does not mark, or says by a variable."""
HEAD = """msgid ""
msgstr ""
"Project-Id-Version: agent-hub\\n"
"Language: zh_Hans\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"
"""


class Text(NamedTuple):
    """What is said, with its plural where it has one, and where it is from."""

    said: str
    plural: str
    place: str

    @property
    def key(self) -> str:
        """As compiled catalogues spell it."""
        return f"{self.said}\0{self.plural}" if self.plural else self.said


def texts() -> list[Text]:
    """All that the command can say, each once, in the order of the files."""
    found = [*_of_help(), *_of_tables(), *_of_code(SOURCES, MARKERS), *_of_code(ADAPTERS, OF_ADAPTERS), *_of_click()]
    once: dict[str, Text] = {}
    for one in found:
        if _bare(one.said).strip():
            once.setdefault(one.key, one)
    return list(once.values())


def catalogue(translated: dict[str, str]) -> str:
    """The file's text with these translations."""
    return HEAD + "".join(f"\n{_entry(one, translated.get(one.key, ''))}" for one in texts())


def _bare(text: str) -> str:
    """Without its placeholders."""
    return "".join(part for part, *_field in Formatter().parse(text)) if "{" in text else text


def _entry(one: Text, translation: str) -> str:
    said = f"#: {one.place}\nmsgid {json.dumps(one.said, ensure_ascii=False)}\n"
    if one.plural:
        said += f"msgid_plural {json.dumps(one.plural, ensure_ascii=False)}\n"
    return f"{said}msgstr{'[0]' if one.plural else ''} {json.dumps(translation, ensure_ascii=False)}\n"


def _of_help() -> Iterator[Text]:
    context = click.Context(root.cli, info_name="hub")
    yield from _of_command(root.cli, "hub/cli/root.py")
    for name in sorted(name for section in root.SECTIONS.values() for name in section):
        command = root.cli.get_command(context, name)
        if command is not None:
            yield from _of_command(command, f"hub/cli/commands/{name}.py")


def _of_command(command: click.Command, place: str) -> Iterator[Text]:
    yield from (Text(one, "", place) for one in helping.paragraphs(command.help or ""))
    for one in command.params:
        if isinstance(one, click.Option) and one.help:
            yield Text(one.help, "", place)
    for line in (command.epilog or "").splitlines():
        if note := line.partition("\t")[2]:
            yield Text(note, "", place)
    if isinstance(command, click.Group) and command is not root.cli:
        for inner in command.commands.values():
            yield from _of_command(inner, place)


def _of_tables() -> Iterator[Text]:
    for title, names in root.SECTIONS.items():
        yield Text(title, "", "hub/cli/root.py")
        yield from (Text(line, "", "hub/cli/root.py") for line in names.values())
    yield from (Text(word, "", "hub/cli/terminal.py") for word in (*sorted(terminal.STATES), *terminal.FIELDS))
    yield from (Text(word, "", "click") for word in UNMARKED)


def _of_code(sources: tuple[str, ...], markers: dict[str, int | str]) -> Iterator[Text]:
    for source in sources:
        place = ROOT / source
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {
                node.targets[0].id: node.value
                for node in tree.body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            }
            for call in _calls(tree):
                if (text := _marked(call, markers, names)) is not None:
                    yield Text(text, "", str(path.relative_to(ROOT)))
    if markers is MARKERS:
        yield Text("; ", "", "hub/phrase.py")


def _marked(call: ast.Call, markers: dict[str, int | str], names: dict[str, ast.expr]) -> str | None:
    where = markers.get(call.func.id) if isinstance(call.func, ast.Name) else None
    if where is None:
        return None
    found: ast.expr | None = None
    if isinstance(where, int):
        found = call.args[where] if len(call.args) > where else None
    else:
        found = next((one.value for one in call.keywords if one.arg == where), None)
    if isinstance(found, ast.Name):
        found = names.get(found.id)
    return found.value if isinstance(found, ast.Constant) and isinstance(found.value, str) else None


def _of_click() -> Iterator[Text]:
    """Not what it tells programmers: that is raised as a TypeError."""
    for name in OF_CLICK:
        module = import_module(f"click.{name}")
        tree = ast.parse(inspect.getsource(module))
        hidden = {id(inner) for node in ast.walk(tree) if _is_call(node, "TypeError") for inner in ast.walk(node)}
        for node in _calls(tree):
            if id(node) in hidden or not (_is_call(node, "_") or _is_call(node, "ngettext")):
                continue
            said = [one.value for one in node.args if isinstance(one, ast.Constant)]
            if said and not str(said[0]).startswith(UNHEARD):
                yield Text(str(said[0]), str(said[1]) if len(said) > 1 else "", "click")


def _calls(tree: ast.Module) -> list[ast.Call]:
    """As they stand in the file."""
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return sorted(found, key=lambda call: (call.lineno, call.col_offset))


def _is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


if __name__ == "__main__":
    before = read(CATALOGUE) if CATALOGUE.exists() else {}
    CATALOGUE.write_text(catalogue(before), encoding="utf-8")
    untranslated = [one.said for one in texts() if not before.get(one.key)]
    sys.stdout.write("\n".join([*untranslated, f"{len(untranslated)} are untranslated"]) + "\n")
