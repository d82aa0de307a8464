"""What is set up: connections and agents."""

from typing import Any

from pydantic import ValidationError as CredentialsInvalid
from rest_framework import serializers

from agents.models import Agent
from channels_adapters.registry import ChannelUnknown, adapter_type, adapters
from hub.edges.rest.problems import Refusal
from hub.edges.rest.shapes.base import KnownFields
from hub.models import Connection
from hub.pipeline.connections import open_credentials
from hub.pipeline.reading import route_keys, vault

ROUTE_FIELDS = (
    "provider", "base_url", "model", "temperature", "max_tokens", "input_cost", "output_cost", "cached_cost"
)  # fmt: skip

PROVIDERS = ("openai", "openai_compatible", "offline")


class ConnectionSerializer(KnownFields, serializers.ModelSerializer[Connection]):
    """An account on a channel. `credentials` are what the channel's adapter asks for; given again, they are merged."""

    channel = serializers.ChoiceField(choices=sorted(adapters()))
    credentials = serializers.DictField(write_only=True, required=False)
    webhook_path = serializers.CharField(read_only=True)

    class Meta:
        model = Connection
        fields = (
            "id", "public_id", "channel", "name", "agent_id", "burst", "debounce_ms", "on_unknown", "delivery_window",
            "allowed_origins", "status", "status_detail", "webhook_path", "credentials", "last_event_at", "created",
            "updated",
        )  # fmt: skip
        read_only_fields = ("id", "public_id", "status_detail", "last_event_at", "created", "updated")

    def validate_agent_id(self, value: Any) -> Any:
        """Only agents of this tenant."""
        if not Agent.objects.filter(id=value).exists():
            raise serializers.ValidationError("There is no such agent.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Credentials by the adapter's own rules; an empty value takes an optional one away."""
        row = self.instance
        given = attrs.pop("credentials", None)
        if row is not None and given is None:
            return attrs
        channel = row.channel if row is not None else attrs["channel"]
        stored = open_credentials(vault(), row) if row is not None else {}
        values = {name: value for name, value in {**stored, **(given or {})}.items() if value not in (None, "")}
        try:
            adapter_type(channel).credentials_type(**values)
        except CredentialsInvalid as error:
            found = error.errors(include_input=False, include_url=False)
            faults = {".".join(map(str, item["loc"])) or "credentials": [item["msg"]] for item in found}
            raise serializers.ValidationError({"credentials": faults}) from None
        except ChannelUnknown as error:  # a channel that this version no longer has
            raise serializers.ValidationError({"channel": [str(error)]}) from None
        attrs["credentials"] = values
        return attrs


class ConnectionChangeSerializer(ConnectionSerializer):
    """As a connection; the channel stays."""

    channel = serializers.ChoiceField(choices=sorted(adapters()), read_only=True)


class RouteSerializer(KnownFields):
    """Where a model is asked. `api_key` goes in only; left out, the one of the same place stays."""

    provider = serializers.ChoiceField(choices=PROVIDERS)
    base_url = serializers.URLField(max_length=500, required=False, allow_blank=True)
    model = serializers.CharField(max_length=200)
    api_key = serializers.CharField(max_length=2000, required=False, write_only=True, allow_blank=True)
    temperature = serializers.FloatField(required=False, allow_null=True, min_value=0, max_value=2)
    max_tokens = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    input_cost = serializers.FloatField(required=False, min_value=0)
    output_cost = serializers.FloatField(required=False, min_value=0)
    cached_cost = serializers.FloatField(required=False, min_value=0)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """What is set, without the key."""
        return {name: instance[name] for name in ROUTE_FIELDS if instance.get(name) not in (None, "")}


class AgentSerializer(KnownFields, serializers.ModelSerializer[Agent]):
    """Prompt, model routes, tools and memory policy. Each change is a new version."""

    routes = RouteSerializer(many=True, required=False)
    tools = serializers.ListField(child=serializers.CharField(max_length=128), required=False)
    blocked_terms = serializers.ListField(child=serializers.CharField(max_length=200), required=False)
    policy = serializers.DictField(required=False)

    class Meta:
        model = Agent
        fields = (
            "id", "name", "prompt", "language", "routes", "policy", "tools", "blocked_terms", "context_tokens",
            "version", "created", "updated",
        )  # fmt: skip
        read_only_fields = ("id", "version", "created", "updated")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """By the model's own rules, and with each name once."""
        routes = attrs.get("routes")
        if routes is not None:
            before = route_keys(self.instance) if self.instance is not None else []
            attrs["route_keys"] = [
                route.pop("api_key", before[place] if place < len(before) else "") for place, route in enumerate(routes)
            ]
        probe = Agent(**{name: value for name, value in attrs.items() if name in ("policy", "tools", "routes")})
        probe.clean()
        same = Agent.objects.filter(name=attrs.get("name"))
        if same.exclude(id=getattr(self.instance, "id", None)).exists():
            raise Refusal("conflict", "An agent of this name exists.")
        return attrs


class ProbeSerializer(serializers.Serializer[Any]):
    """What asking the other side has shown. `identity` is as whom the platform or the model knows us."""

    ok = serializers.BooleanField(read_only=True)
    detail = serializers.CharField(read_only=True, allow_blank=True)
    identity = serializers.CharField(read_only=True, allow_blank=True)
    seconds = serializers.FloatField(read_only=True)
