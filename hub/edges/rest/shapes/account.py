"""The tenant itself: keys, limits, what was used."""

from typing import Any

from rest_framework import serializers

from hub.edges.rest.shapes.base import KnownFields
from tenants.models import ApiKey, Quota, Tenant


class ApiKeySerializer(KnownFields, serializers.ModelSerializer[ApiKey]):
    """A key, without its secret."""

    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=("read", "write", "chat")), min_length=1, max_length=3
    )

    class Meta:
        model = ApiKey
        fields: tuple[str, ...] = (
            "id", "name", "prefix", "scopes", "agent_id", "created_at", "last_used_at", "expires_at",
            "revoked_at",
        )  # fmt: skip
        read_only_fields = ("id", "prefix", "created_at", "last_used_at", "revoked_at")


class IssuedKeySerializer(ApiKeySerializer):
    """A new key; `key` is the only copy of its secret that there will ever be."""

    key = serializers.CharField(read_only=True)

    class Meta(ApiKeySerializer.Meta):
        fields: tuple[str, ...] = (*ApiKeySerializer.Meta.fields, "key")


class QuotaSerializer(serializers.ModelSerializer[Quota]):
    """A limit and what is used of it; `limit` -1 is none."""

    limit = serializers.SerializerMethodField()

    class Meta:
        model = Quota
        fields = ("metric", "limit", "used", "reserved", "period", "period_start", "alert_at")

    def get_limit(self, row: Quota) -> int:
        """The override, else the plan's."""
        return row.limit_value if row.override is None else row.override


class TenantSerializer(serializers.ModelSerializer[Tenant]):
    """The caller's own tenant."""

    plan = serializers.CharField(source="plan.slug", read_only=True)

    class Meta:
        model = Tenant
        fields = ("id", "slug", "name", "plan", "status", "zone", "language", "created_at")
        read_only_fields = fields


class SpentSerializer(serializers.Serializer[Any]):
    """Model calls of one day and model, added up."""

    day = serializers.DateField()
    model = serializers.CharField()
    kind = serializers.CharField()
    calls = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    cost = serializers.DecimalField(max_digits=18, decimal_places=9)
