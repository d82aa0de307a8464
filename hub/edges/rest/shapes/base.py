"""What all shapes that come in have in common."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers


class KnownFields(serializers.Serializer[Any]):
    """Refuses names that cannot be set: a misspelt one would otherwise pass for done."""

    def to_internal_value(self, data: Any) -> Any:
        """As the framework's, for known names only."""
        if isinstance(data, Mapping):
            known = {name for name, field in self.fields.items() if not field.read_only}
            unknown = sorted({str(name)[:40] for name in data if name not in known})
            if unknown:
                raise serializers.ValidationError({name: ["There is no such field to set."] for name in unknown[:10]})
        return super().to_internal_value(data)
