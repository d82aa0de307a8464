"""What lists may be narrowed by; each name is checked, and an unknown one is refused."""

from django import forms
from django.core.exceptions import ValidationError
from django_filters import rest_framework as filters

from agents.models import Agent
from hub.models import Connection, ConnectionStatus, Contact, Delivery, DeliveryStatus, Event, Session, SessionOwner


class TrueOrFalse(forms.Field):
    """The two words and nothing else: Django's field takes anything strange for no answer."""

    def to_python(self, value: object) -> bool | None:
        """Raises ValidationError."""
        if value in self.empty_values:
            return None
        if value not in ("true", "false"):
            raise ValidationError("true or false")
        return value == "true"


class Flag(filters.BooleanFilter):  # type: ignore[misc]
    """Whether a mark is set."""

    field_class = TrueOrFalse

    def __init__(self, **given: object) -> None:
        super().__init__(widget=forms.TextInput, **given)


class SessionFilter(filters.FilterSet):  # type: ignore[misc]
    """Of sessions."""

    connection = filters.UUIDFilter(field_name="connection_id", help_text="On this connection.")
    contact = filters.UUIDFilter(field_name="contact_id", help_text="With this contact.")
    subject = filters.UUIDFilter(field_name="subject_id", help_text="Whose memory it goes into.")
    owner = filters.ChoiceFilter(choices=SessionOwner.choices, help_text="Who answers.")
    starred = Flag(help_text="Marked with a star, or not.")
    archived = Flag(help_text="Put away, or not.")
    current = Flag(help_text="False: those that were begun anew.")

    class Meta:
        model = Session
        fields: tuple[str, ...] = ()


class DeliveryFilter(filters.FilterSet):  # type: ignore[misc]
    """Of deliveries."""

    status = filters.ChoiceFilter(choices=DeliveryStatus.choices, help_text="Where it stands.")
    session = filters.UUIDFilter(field_name="session_id", help_text="Of this session.")
    connection = filters.UUIDFilter(field_name="connection_id", help_text="On this connection.")

    class Meta:
        model = Delivery
        fields: tuple[str, ...] = ()


class EventFilter(filters.FilterSet):  # type: ignore[misc]
    """Of events."""

    type = filters.CharFilter(max_length=60, help_text="Exactly this type, such as `delivery.dead`.")
    connection = filters.UUIDFilter(field_name="connection_id", help_text="About this connection.")
    session = filters.UUIDFilter(field_name="session_id", help_text="About this session.")
    turn = filters.UUIDFilter(field_name="turn_id", help_text="About this turn.")
    delivery = filters.UUIDFilter(field_name="delivery_id", help_text="About this delivery.")

    class Meta:
        model = Event
        fields: tuple[str, ...] = ()


class ConnectionFilter(filters.FilterSet):  # type: ignore[misc]
    """Of connections."""

    channel = filters.CharFilter(max_length=32, help_text="On this channel, such as `telegram`.")
    status = filters.ChoiceFilter(choices=ConnectionStatus.choices, help_text="Whether it takes and sends.")
    agent = filters.UUIDFilter(field_name="agent_id", help_text="Answered by this agent.")

    class Meta:
        model = Connection
        fields: tuple[str, ...] = ()


class AgentFilter(filters.FilterSet):  # type: ignore[misc]
    """Of agents."""

    name = filters.CharFilter(max_length=120, help_text="Exactly this name.")

    class Meta:
        model = Agent
        fields: tuple[str, ...] = ()


class ContactFilter(filters.FilterSet):  # type: ignore[misc]
    """Of contacts."""

    connection = filters.UUIDFilter(field_name="connection_id", help_text="On this connection.")
    person = filters.UUIDFilter(field_name="person_id", help_text="Of this person.")
    blocked = Flag(help_text="Blocked, or not.")

    class Meta:
        model = Contact
        fields: tuple[str, ...] = ()
