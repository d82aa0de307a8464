"""A wrong module in `platforms/` stops everything, loudly."""

import sys
import types
from typing import Any, cast

import pytest

from channels_adapters import registry

GOOD = """
from channels_adapters.platforms.api import ApiAdapter, ApiCredentials
class {name}(ApiAdapter):
    slug = {slug!r}
    name = {title!r}
"""


def package(tmp_path: Any, monkeypatch: Any, **modules: str) -> types.ModuleType:
    folder = tmp_path / "odd_platforms"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("odd_platforms")]:
        monkeypatch.delitem(sys.modules, name)
    import odd_platforms  # type: ignore[import-not-found]

    return cast(types.ModuleType, odd_platforms)


def test_the_five_channels_are_found() -> None:
    assert {"api", "slack", "telegram", "web", "webhook"} <= set(registry.adapters())
    assert registry.adapter_type("telegram").slug == "telegram"


def test_an_unknown_channel_names_the_known_ones() -> None:
    with pytest.raises(registry.ChannelUnknown, match="telegram"):
        registry.adapter_type("telegraph")


def test_a_good_module(tmp_path: Any, monkeypatch: Any) -> None:
    found = registry.discover(package(tmp_path, monkeypatch, one=GOOD.format(name="One", slug="one", title="One")))
    assert list(found) == ["one"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "none"),
        (GOOD.format(name="A", slug="bad", title="A") + GOOD.format(name="B", slug="bad", title="B"), "A, B"),
        (GOOD.format(name="A", slug="other", title="A"), "slug"),
        (GOOD.format(name="A", slug="bad", title=""), "name"),
        (GOOD.format(name="A", slug="bad", title="A") + "    credentials_type = int\n", "credentials_type"),
        (GOOD.format(name="A", slug="bad", title="A") + "    capabilities = None\n", "capabilities"),
    ],
)
def test_a_bad_module_is_named(tmp_path: Any, monkeypatch: Any, text: Any, words: Any) -> None:
    with pytest.raises(registry.RegistryBroken, match=words):
        registry.discover(package(tmp_path, monkeypatch, bad=text))


def test_a_module_that_cannot_be_imported_is_not_passed_over(tmp_path: Any, monkeypatch: Any) -> None:
    with pytest.raises(ImportError):
        registry.discover(package(tmp_path, monkeypatch, bad="import no_such_module_at_all"))
