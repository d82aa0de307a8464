"""Conversations: sessions, what was said, answering passes, parts on their way, and what happened."""

from typing import Any

from rest_framework import serializers

from hub.edges.rest.shapes.base import KnownFields
from hub.models import Delivery, Event, Message, Session, Turn
from hub.pipeline.bodies import MAX_TEXT, Body
from hub.pipeline.reading import message_body, session_title


class SessionSerializer(KnownFields, serializers.ModelSerializer[Session]):
    """A conversation. Title, star and archive are the tenant's to set."""

    title = serializers.CharField(max_length=200, allow_blank=True, required=False)
    connection = serializers.UUIDField(source="connection_id", read_only=True)

    class Meta:
        model = Session
        fields = (
            "id", "connection", "contact_id", "subject_id", "agent_id", "owner", "generation", "current", "title",
            "starred", "archived", "last_seq", "due_turns", "last_inbound_at", "created",
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


class PostSerializer(KnownFields):
    """A message to say in a session, as the assistant's words."""

    text = serializers.CharField(max_length=MAX_TEXT, trim_whitespace=False)
    sender_name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)

    def validate_text(self, value: str) -> str:
        """Something must be said."""
        if not value.strip():
            raise serializers.ValidationError("A message needs a text.")
        return value


class ReplayedSerializer(serializers.Serializer[Any]):
    """Deliveries that will be sent again, in their order."""

    deliveries = serializers.ListField(child=serializers.UUIDField(), read_only=True)


class EventSerializer(serializers.ModelSerializer[Event]):
    """What happened. `data` holds names, counts and reasons, never what was said."""

    class Meta:
        model = Event
        fields = ("id", "type", "connection_id", "session_id", "turn_id", "delivery_id", "data", "created")
        read_only_fields = fields
