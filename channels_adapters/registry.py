"""Finds the channels: each module (or package) in `platforms/` holds exactly one adapter, named like its module."""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any

from channels_adapters import platforms
from channels_adapters.base import ChannelAdapter, Credentials
from channels_adapters.types import Capabilities

AdapterType = type[ChannelAdapter[Any]]


class RegistryBroken(Exception):
    """A module in `platforms/` does not keep the rules; nothing starts until it does."""


class ChannelUnknown(LookupError):
    """No adapter has this slug; `known` are those there are."""

    def __init__(self, slug: str, known: Sequence[str]) -> None:
        super().__init__(f"no channel is called {slug!r}; there are: {', '.join(known)}")
        self.slug = slug
        self.known = tuple(known)


@cache
def adapters() -> Mapping[str, AdapterType]:
    """Every adapter type by slug, in the order of the slugs. Raises RegistryBroken."""
    return MappingProxyType(discover(platforms))


def adapter_type(slug: str) -> AdapterType:
    """The adapter type of one channel. Raises ChannelUnknown."""
    try:
        return adapters()[slug]
    except KeyError:
        raise ChannelUnknown(slug, list(adapters())) from None


def discover(package: ModuleType) -> dict[str, AdapterType]:
    """Import the direct children of `package` and check each one."""
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return {name: _only_adapter(importlib.import_module(f"{package.__name__}.{name}"), name) for name in names}


def _only_adapter(module: ModuleType, name: str) -> AdapterType:
    found = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, ChannelAdapter)
        and not inspect.isabstract(member)
        and member.__module__.startswith(module.__name__)
    ]
    if len(found) != 1:
        names = ", ".join(member.__name__ for member in found) or "none"
        raise RegistryBroken(f"{module.__name__} must hold exactly one adapter, but holds: {names}")
    adapter = found[0]
    problems = list(_problems(adapter, name))
    if problems:
        raise RegistryBroken(f"{module.__name__}.{adapter.__name__}: {'; '.join(problems)}")
    return adapter


def _problems(adapter: AdapterType, name: str) -> list[str]:
    problems = []
    if getattr(adapter, "slug", None) != name:
        problems.append(f"slug must be {name!r}, the module's name")
    texts = {name: getattr(adapter, name, None) for name in ("name", "docs_url")}
    problems += [f"{name} must be a text" for name, value in texts.items() if not isinstance(value, str) or not value]
    credentials = getattr(adapter, "credentials_type", None)
    if not (isinstance(credentials, type) and issubclass(credentials, Credentials)):
        problems.append("credentials_type must be a subclass of Credentials")
    if not isinstance(getattr(adapter, "capabilities", None), Capabilities):
        problems.append("capabilities must be a Capabilities")
    return problems
