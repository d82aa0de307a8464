"""Small readers that tame foreign JSON: a wrong type reads as absent, so no payload can raise where it is read."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson

from channels_adapters.errors import PayloadMalformed
from channels_adapters.text import clean
from channels_adapters.types import EMPTY

LATEST = 253402300799  # 9999-12-31T23:59:59Z, the last second that `datetime` can hold


def parse_object(body: bytes) -> Mapping[str, object]:
    """The JSON object in `body`; raises PayloadMalformed for anything else.

    orjson refuses lone surrogates, which people's clients do produce: they become replacement characters.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _lenient(body)
    if not isinstance(value, dict):
        raise PayloadMalformed("the body is not a JSON object")
    return value


def _lenient(body: bytes) -> object:
    try:
        return orjson.loads(clean(json.dumps(json.loads(body), ensure_ascii=False)))
    except (ValueError, RecursionError) as error:
        raise PayloadMalformed("the body is not JSON") from error


def mapping(source: Mapping[str, object], *path: str) -> Mapping[str, object]:
    """The object at `path`, or an empty one."""
    value: object = source
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else EMPTY


def items(source: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    """The objects of the list `name`; members of another type are left out."""
    value = source.get(name)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def text(source: Mapping[str, object], name: str, default: str = "") -> str:
    """The string `name`."""
    value = source.get(name)
    return value if isinstance(value, str) else default


def identifier(source: Mapping[str, object], name: str) -> str:
    """The id `name`, which platforms write as a string or as an integer."""
    value = source.get(name)
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def integer(source: Mapping[str, object], name: str) -> int | None:
    """The integer `name`."""
    value = source.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(source: Mapping[str, object], name: str) -> float | None:
    """The finite, non-negative number `name`."""
    value = source.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < LATEST else None


def moment(seconds: float | str | None) -> datetime | None:
    """Unix seconds (also as a decimal string) as a time, or None when they are not one."""
    try:
        value = float(seconds) if seconds is not None else -1.0
    except ValueError:
        return None
    return datetime.fromtimestamp(value, tz=UTC) if 0 <= value <= LATEST else None
