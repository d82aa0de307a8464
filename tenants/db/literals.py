"""PostgreSQL array literals, built as text.

Adapting twenty Python lists per statement costs more than the statement; these join strings. They hold values only
(never SQL), each cast on the server (`%s::uuid[]`), so a value cannot become code.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from uuid import UUID

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\x00": ""})


def uuids(values: Iterable[UUID | None]) -> str:
    """`uuid[]`."""
    return "{" + ",".join("NULL" if value is None else value.hex for value in values) + "}"


def integers(values: Iterable[int | None]) -> str:
    """`int[]` or `bigint[]`."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"


def floats(values: Iterable[float]) -> str:
    """`float8[]`."""
    return "{" + ",".join(map(repr, values)) + "}"


def booleans(values: Iterable[bool]) -> str:
    """`bool[]`."""
    return "{" + ",".join("t" if value else "f" for value in values) + "}"


def blobs(values: Iterable[bytes | None]) -> str:
    """`bytea[]`."""
    return "{" + ",".join("NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values) + "}"


def texts(values: Iterable[str | None]) -> str:
    """`text[]`; NUL, which PostgreSQL cannot store, is dropped."""
    return "{" + ",".join("NULL" if value is None else f'"{value.translate(_ESCAPES)}"' for value in values) + "}"


def numbers(values: Iterable[Decimal]) -> str:
    """`numeric[]`."""
    return "{" + ",".join(map(str, values)) + "}"


def moments(values: Iterable[datetime | None]) -> str:
    """`timestamptz[]`."""
    return "{" + ",".join("NULL" if value is None else f'"{value.isoformat()}"' for value in values) + "}"
