"""What keeps people out of a page, by axe-core as `axe-playwright-python` carries it: no Node is needed."""

from functools import cache
from importlib.resources import files
from typing import Any


@cache
def script() -> str:
    """axe-core, whole."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def serious(page: Any) -> list[str]:
    """What axe calls serious or critical, once nothing moves any more."""
    page.evaluate(script())
    page.wait_for_timeout(500)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['target']} {node.get('failureSummary', '')}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
