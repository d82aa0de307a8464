"""What pydantic refuses, as phrases: values themselves are never repeated, since they may be secrets."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hub.phrase import Phrase, Told

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_NUMBER, _WHOLE, _SWITCH = (
    Phrase("expected a number"),
    Phrase("expected a whole number"),
    Phrase("expected true or false"),
)
_KINDS: Mapping[str, Phrase] = {
    "missing": Phrase("missing"),
    "extra_forbidden": Phrase("not known here"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_parsing", "float_type"), _NUMBER),
    **dict.fromkeys(("bool_parsing", "bool_type"), _SWITCH),
    "greater_than_equal": Phrase("expected {ge} or more"),
    "less_than_equal": Phrase("expected {le} or less"),
    "string_too_short": Phrase("expected at least {min_length} characters"),
    "string_too_long": Phrase("expected at most {max_length} characters"),
    "string_pattern_mismatch": Phrase("expected the form {pattern}"),
    "literal_error": Phrase("expected one of: {choices}"),
}
"""By pydantic's type of an error; its own words are used for any other."""


class Expected(Told, ValueError):
    """What a validator of ours expected instead."""


def fault(found: "ErrorDetails") -> Phrase:
    """What is wrong, and what would be right."""
    context: dict[str, Any] = found.get("ctx", {})
    if isinstance(error := context.get("error"), ValueError):
        return _own(error)
    known = _KINDS.get(found["type"])
    if known is None:
        return Phrase("expected: {what}", what=found["msg"].removeprefix("Input should be "))
    choices = ", ".join(re.findall(r"'([^']+)'", str(context.get("expected", ""))))
    return Phrase(known.text, **context, choices=choices)


def _own(error: ValueError) -> Phrase:
    """A validator's refusal: the hub's, or an adapter's, which knows nothing of phrases."""
    if isinstance(error, Told):
        return error.phrase
    from channels_adapters.errors import FieldRefused

    return Phrase(error.text, **error.values) if isinstance(error, FieldRefused) else Phrase(str(error))
