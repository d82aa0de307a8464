"""The shapes of what goes out and comes in. Secrets go in only."""

from typing import Any

from pydantic import ValidationError as CredentialsInvalid
from rest_framework import serializers

from agents.models import Agent
from channels_adapters.registry import ChannelUnknown, adapter_type, adapters
from hub.models import Connection, Delivery, Message, Session, Turn
from hub.pipeline.bodies import Body
from hub.pipeline.connections import open_credentials
from hub.pipeline.reading import message_body, route_keys, session_title, vault
from tenants.models import ApiKey, Quota, Tenant

ROUTE_FIELDS = (
    "provider", "base_url", "model", "temperature", "max_tokens", "input_cost", "output_cost", "cached_cost"
)  # fmt: skip


class SessionSerializer(serializers.ModelSerializer[Session]):
    """A conversation. Title, star and archive are the tenant's to set."""

    title = serializers.CharField(max_length=200, allow_blank=True, required=False)
    connection = serializers.UUIDField(source="connection_id", read_only=True)

    class Meta:
        model = Session
        fields = (
            "id", "connection", "contact_id", "agent_id", "owner", "generation", "current", "title", "starred",
            "archived", "last_seq", "due_turns", "last_inbound_at", "created",
        )  # fmt: skip
        read_only_fields = tuple(name for name in fields if name not in ("title", "starred", "archived"))

    def to_representation(self, instance: Session) -> dict[str, Any]:
        """With the title opened."""
        instance.title = session_title(instance)  # shown, never saved
        return super().to_representation(instance)


class MessageSerializer(serializers.ModelSerializer[Message]):
    """What was said, opened."""

    text = serializers.SerializerMethodField()
    sender_name = serializers.SerializerMethodField()
    attachments = serializers.SerializerMethodField()
    quick_replies = serializers.SerializerMethodField()

    class Meta:
        model = Message
        fields = (
            "id", "seq", "role", "status", "reason", "turn_id", "contact_id", "text", "sender_name", "attachments",
            "quick_replies", "model", "tokens", "created",
        )  # fmt: skip

    def get_text(self, row: Message) -> str | None:
        """None when its key was destroyed."""
        body = self._body(row)
        return None if body is None else body.text

    def get_sender_name(self, row: Message) -> str:
        """As the channel calls the person."""
        body = self._body(row)
        return "" if body is None else body.sender_name

    def get_attachments(self, row: Message) -> list[dict[str, Any]]:
        """By reference."""
        body = self._body(row)
        return [] if body is None else [dict(part) for part in body.attachments]

    def get_quick_replies(self, row: Message) -> list[str]:
        """Buttons under it."""
        body = self._body(row)
        return [] if body is None else list(body.quick_replies)

    def _body(self, row: Message) -> Body | None:
        if not hasattr(row, "opened"):
            row.opened = message_body(row)  # type: ignore[attr-defined]
        opened: Body | None = row.opened  # type: ignore[attr-defined]
        return opened


class TurnSerializer(serializers.ModelSerializer[Turn]):
    """One answering pass and where its time went."""

    session = serializers.UUIDField(source="session_id", read_only=True)

    class Meta:
        model = Turn
        fields = (
            "id", "session", "kind", "status", "reason", "first_seq", "last_seq", "attempts", "model", "input_tokens",
            "output_tokens", "error", "trace", "created", "started_at", "first_token_at", "finished_at",
        )  # fmt: skip


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """A part on its way."""

    session = serializers.UUIDField(source="session_id", read_only=True)
    connection = serializers.UUIDField(source="connection_id", read_only=True)

    class Meta:
        model = Delivery
        fields = (
            "id", "session", "connection", "turn_id", "message_id", "position", "part_index", "final", "status",
            "attempts", "due_at", "expires_at", "sent_at", "platform_id", "receipt", "detail", "created",
        )  # fmt: skip


class ConnectionSerializer(serializers.ModelSerializer[Connection]):
    """An account on a channel. `credentials` are what the channel's adapter asks for; given again, they are merged."""

    channel = serializers.CharField(max_length=32)
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

    def validate_channel(self, value: str) -> str:
        """Only channels that exist; a connection keeps its own."""
        if value not in adapters():
            raise serializers.ValidationError(f"There is no such channel; there are: {', '.join(adapters())}.")
        if self.instance is not None and value != self.instance.channel:
            raise serializers.ValidationError("A connection keeps its channel.")
        return value

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
        except ChannelUnknown as error:
            raise serializers.ValidationError({"channel": [str(error)]}) from None
        attrs["credentials"] = values
        return attrs


class RouteSerializer(serializers.Serializer[Any]):
    """Where a model is asked. `api_key` goes in only; left out, the one of the same place stays."""

    provider = serializers.CharField(max_length=40)
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


class AgentSerializer(serializers.ModelSerializer[Agent]):
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
            raise serializers.ValidationError({"name": ["An agent of this name exists."]})
        return attrs


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key. `key` is in the answer to its making and never again."""

    key = serializers.CharField(read_only=True, required=False)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=("read", "write", "chat")), min_length=1, max_length=3
    )

    class Meta:
        model = ApiKey
        fields = (
            "id", "name", "prefix", "scopes", "agent_id", "key", "created_at", "last_used_at", "expires_at",
            "revoked_at",
        )  # fmt: skip
        read_only_fields = ("id", "prefix", "created_at", "last_used_at", "revoked_at")


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
