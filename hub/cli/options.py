"""`--set KEY=VALUE` of connections: which key is an option of ours, which is the adapter's, and what is wrong."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import SecretStr

from hub.cli.output import CommandFailed

if TYPE_CHECKING:
    from channels_adapters.base import Credentials
    from hub.models import Connection

OPTIONS = ("name", "burst", "debounce_ms", "on_unknown", "delivery_window", "allowed_origins", "status")
"""Columns of a connection that may be set; everything else belongs to the adapter's Credentials."""


def pairs(given: Iterable[str], files: Iterable[str] = ()) -> dict[str, str]:
    """KEY=VALUE and KEY=PATH (the value is the file's text, so that a secret shows in no list of processes)."""
    found = dict(_parted(pair, "--set", "KEY=VALUE") for pair in given)
    for name, path in (_parted(pair, "--set-file", "KEY=PATH") for pair in files):
        try:
            found[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as wrong:
            raise CommandFailed(
                "{option} {name}: {path} cannot be read: {reason}",
                option="--set-file",
                name=name,
                path=path,
                reason=type(wrong).__name__,
            ) from wrong
    return found


def _parted(pair: str, option: str, form: str) -> tuple[str, str]:
    name, parted, value = pair.partition("=")
    if not (parted and name):
        raise CommandFailed("{option}: expected {form}", option=option, form=form)
    return name, value


def split(given: Mapping[str, str], credentials: "type[Credentials]") -> tuple[dict[str, str], dict[str, Any]]:
    """(options of the connection, fields of the adapter); raises CommandFailed naming every unknown key.

    A key that both know is given to both.
    """
    fields = credentials.model_fields
    unknown = [name for name in given if name not in OPTIONS and name not in fields]
    if unknown:
        raise CommandFailed(
            "unknown: {names}; this channel takes: {fields}; every connection takes: {options}",
            names=", ".join(unknown),
            fields=", ".join(fields),
            options=", ".join(OPTIONS),
        )
    ours = {name: value for name, value in given.items() if name in OPTIONS}
    theirs = {name: _typed(value, fields[name].annotation) for name, value in given.items() if name in fields}
    return ours, theirs


def _typed(value: str, annotation: Any) -> Any:
    """Lists and objects are spelled as JSON; texts and secrets stay as they are, also when they look like JSON."""
    if annotation in (str, SecretStr) or not value.startswith(("[", "{")):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def apply(row: "Connection", options: Mapping[str, str]) -> None:
    """Set and check a connection's own options. Raises django's ValidationError naming the field."""
    from django.core.exceptions import ValidationError

    for name, text in options.items():
        field: Any = row._meta.get_field(name)
        value: Any = text if text or not field.null else None
        if name == "allowed_origins":
            value = text.replace(",", " ").split()
        try:
            setattr(row, name, field.clean(value, row))
        except ValidationError as wrong:
            raise ValidationError({name: wrong}) from None
