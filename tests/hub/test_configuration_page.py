import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("configuration", ROOT / "scripts" / "configuration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_tells_what_the_program_reads() -> None:
    script = _script()
    assert (ROOT / "docs" / "configuration.md").read_text() == script.page(), "run: python scripts/configuration.py"


def test_every_variable_says_what_it_means() -> None:
    silent = [name for name, _, text in _script().variables() if not text]
    assert silent == []
