"""The theme's decorators with their types kept."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from unfold import decorators

F = TypeVar("F", bound=Callable[..., Any])


def display(*, description: Any) -> Callable[[F], F]:
    """A column or read-only field."""
    marked: Callable[[F], F] = decorators.display(description=description)
    return marked


def action(*, description: Any, permissions: Sequence[str], url_path: str | None = None) -> Callable[[F], F]:
    """Something to do with chosen rows, or, with `url_path`, with the row of a page."""
    marked: Callable[[F], F] = decorators.action(description=description, permissions=permissions, url_path=url_path)
    return marked
