"""Write docs/configuration.md from hub/env.py: every variable, its default and what it means.

`python scripts/configuration.py` rewrites the page; a test fails when it is stale.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration

All settings are environment variables, read and checked once at the start. Whatever is wrong or missing is reported
at once, by name, and stops the start with exit code 2. This page is written from `hub/env.py`.

| variable | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The page's text."""
    return HEAD + "".join(f"| `{name}` | {default} | {text} |\n" for name, default, text in variables())


def variables() -> list[tuple[str, str, str]]:
    """Name, default and meaning of each field of Env, in order."""
    tree = ast.parse((ROOT / "hub" / "env.py").read_text(encoding="utf-8"))
    env = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Env")
    found = []
    for node, following in zip(env.body, [*env.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name = node.target.id
        text = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = " ".join(str(following.value.value).split())
        shown = "PORT" if name == "port" else f"HUB_{name.upper()}"
        found.append((shown, _default(node.value), text.replace("|", "\\|")))
    return found


def _default(value: ast.expr | None) -> str:
    if value is None or (isinstance(value, ast.Constant) and value.value is None) or isinstance(value, ast.Tuple):
        return ""
    if isinstance(value, ast.Constant):
        return f"`{value.value}`"
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Path":
        return f"`{ast.literal_eval(value.args[0])}`"
    return "worked out"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")
