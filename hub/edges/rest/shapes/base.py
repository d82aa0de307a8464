"""What all shapes that come in have in common."""

from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers

_KINDS: Final[tuple[tuple[tuple[type, ...], tuple[type, ...], str], ...]] = (
    ((serializers.BooleanField,), (bool,), "true or false is needed."),
    ((serializers.CharField, serializers.ChoiceField, serializers.UUIDField), (str,), "A text is needed."),
    ((serializers.IntegerField,), (int,), "A whole number is needed."),
    ((serializers.FloatField,), (int, float), "A number is needed."),
)
"""JSON has kinds of values of its own; the framework's fields would read the text "5" as a number, and 1 as true."""


def _wish(field: Any, value: Any) -> str:
    """What is needed instead of `value`; empty where its kind is right or the field itself says it."""
    if value is None:
        return ""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        return next((wish for item in value if (wish := _wish(field.child, item))), "")
    for fields, kinds, words in _KINDS:
        if isinstance(field, fields):
            whole = int in kinds and isinstance(value, float) and value.is_integer()  # JSON tells 1 and 1.0 not apart
            fits = whole or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)))
            return "" if fits else words
    return ""


class KnownFields(serializers.Serializer[Any]):
    """Refuses names that cannot be set, which would pass for done, and values that would have to be guessed at."""

    def to_internal_value(self, data: Any) -> Any:
        """As the framework's, for known names only."""
        if isinstance(data, Mapping):
            known = {name for name, field in self.fields.items() if not field.read_only}
            unknown = sorted({str(name)[:40] for name in data if name not in known})
            if unknown:
                raise serializers.ValidationError({name: ["There is no such field to set."] for name in unknown[:10]})
            wrong = {name: [wish] for name, value in data.items() if (wish := _wish(self.fields[name], value))}
            if wrong:
                raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)
