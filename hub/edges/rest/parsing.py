"""Request bodies: JSON only, bounded, and without what PostgreSQL or UTF-8 cannot hold."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from rest_framework.parsers import BaseParser

from hub.edges.guard import API_BODY
from hub.edges.rest.problems import Refusal

MAX_DEPTH: Final = 32


class StrictJson(BaseParser):
    """Refuses lone surrogates and numbers that are none (orjson does), NUL, and deep nesting."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """The body's value. Raises Refusal."""
        data = stream.read(API_BODY + 1)
        if len(data) > API_BODY:
            raise Refusal("body_too_large")
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise Refusal("malformed", "The body is not valid JSON.") from None
        _check(found)
        return found


def _check(found: Any) -> None:
    level = [found]
    for _ in range(MAX_DEPTH):
        if any(isinstance(item, str) and "\0" in item for item in level):
            raise Refusal("malformed", "The body holds a NUL character.")
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return
    raise Refusal("malformed", f"The body is nested deeper than {MAX_DEPTH} levels.")


def _inside(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    return item if isinstance(item, list) else []
