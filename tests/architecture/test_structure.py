"""What the packages promise about their shape, read from the source itself."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hub", "channels_adapters", "agents", "memory", "tenants")
MODULE_LINES, CLASS_LINES, CLASS_METHODS, FUNCTION_LINES = 400, 200, 15, 40
# The hub's own doors carry these names too; they are words of the protocol there, not platforms.
OWN_DOORS = {"web", "api", "webhook"}


def modules(*packages: str) -> Iterator[Path]:
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def lines(node: ast.AST) -> int:
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return (node.end_lineno or node.lineno) - node.lineno + 1


def too_big(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT)
    if (count := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES:
        yield f"{name}: {count} lines"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines(node) > FUNCTION_LINES:
            yield f"{name}:{node.lineno} {node.name}: {lines(node)} lines"
        if isinstance(node, ast.ClassDef):
            public = [
                n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name[0] != "_"
            ]
            methods = [n for n in public if not n.decorator_list]  # a property is read like a field
            if lines(node) > CLASS_LINES or len(methods) > CLASS_METHODS:
                yield f"{name}:{node.lineno} {node.name}: {lines(node)} lines, {len(methods)} public methods"


def test_the_size_budget_is_kept() -> None:
    assert [fault for path in modules() for fault in too_big(path)] == []


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_top_level_names_are_ours(package: str) -> None:
    """A distribution may own a package of the same name (one of the agent frameworks does) and would shadow it."""
    module = __import__(package)
    assert Path(str(module.__file__)).is_relative_to(ROOT)


def slugs() -> set[str]:
    found = {path.stem for path in (ROOT / "channels_adapters" / "platforms").glob("*.py")}
    return found - {"__init__"} - OWN_DOORS


def strings(path: Path) -> Iterator[tuple[int, str]]:
    found = tree(path)
    docs = {id(node.value) for node in ast.walk(found) if isinstance(node, ast.Expr)}  # prose may name a channel
    for node in ast.walk(found):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def test_channels_are_named_in_their_package_only() -> None:
    names = slugs()
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in modules("hub", "agents", "memory", "tenants")
        for line, text in strings(path)
        if text in names
    ]
    assert found == []


def test_only_env_reads_the_environment() -> None:
    """The command's language is the system's own matter: its variables are none of the hub's settings."""
    reads = re.compile(r"\bos\.(environ|getenv|putenv)\b|\bfrom os import .*\benviron\b")
    readers = [str(path.relative_to(ROOT)) for path in modules() if reads.search(path.read_text(encoding="utf-8"))]
    assert readers == ["hub/cli/language.py", "hub/env.py"]
    assert "HUB_" not in (ROOT / "hub/cli/language.py").read_text(encoding="utf-8")


def test_migrations_are_complete(database: object) -> None:
    from django.core.management import call_command

    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_the_lock_is_in_step_with_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"].values()
    wanted = [
        Requirement(line) for line in [*project["project"]["dependencies"], *(line for g in groups for line in g)]
    ]
    pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    locked = {canonicalize_name(name): version for name, version in pinned.items()}
    missing = [str(one) for one in wanted if not one.specifier.contains(locked.get(canonicalize_name(one.name), "0"))]
    assert missing == []
