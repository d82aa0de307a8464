"""People: contacts and persons, and what is remembered of them."""

from typing import Any

from rest_framework import serializers

from hub.edges.rest.shapes.base import KnownFields
from hub.models import Contact, Person
from hub.pipeline.reading import contact_name, load, vault
from memory.cells import cell
from memory.models import MemoryLine, Summary
from memory.store import open_line


class ContactSerializer(KnownFields, serializers.ModelSerializer[Contact]):
    """Someone as one connection knows them. What a blocked contact says is stored and not answered."""

    connection = serializers.UUIDField(source="connection_id", read_only=True)
    person = serializers.UUIDField(source="person_id", read_only=True, allow_null=True)
    name = serializers.SerializerMethodField()

    class Meta:
        model = Contact
        fields = ("id", "connection", "person", "name", "blocked", "created")
        read_only_fields = ("id", "created")

    def get_name(self, row: Contact) -> str:
        """As the platform calls them."""
        return contact_name(row)


class PersonSerializer(serializers.ModelSerializer[Person]):
    """A human behind one or more contacts."""

    contacts = serializers.SerializerMethodField()

    class Meta:
        model = Person
        fields = ("id", "contacts", "created")
        read_only_fields = fields

    def get_contacts(self, row: Person) -> list[str]:
        """The ids of up to a hundred."""
        return [str(ident) for ident in Contact.objects.filter(person_id=row.id).values_list("id", flat=True)[:100]]


class SummarySerializer(serializers.ModelSerializer[Summary]):
    """A fragment of a conversation, told short."""

    text = serializers.SerializerMethodField()

    class Meta:
        model = Summary
        fields = ("id", "session_id", "subject_id", "first_seq", "last_seq", "lines", "by_model", "text", "created")
        read_only_fields = fields

    def get_text(self, row: Summary) -> str:
        """Opened."""
        load(row.tenant_id)
        sealed = bytes(row.text)
        return vault().open(cell(row.tenant_id, "summary", "text", row.id), sealed).decode("utf-8", "replace")


class LineSerializer(serializers.ModelSerializer[MemoryLine]):
    """A remembered line that no summary holds yet, or that the agent still has before it."""

    text = serializers.SerializerMethodField()

    class Meta:
        model = MemoryLine
        fields = ("id", "session_id", "subject_id", "seq", "role", "text", "done", "said_at")
        read_only_fields = fields

    def get_text(self, row: MemoryLine) -> str:
        """Opened."""
        load(row.tenant_id)
        return open_line(vault(), row.tenant_id, (row.id, row.seq, row.role, row.body, row.said_at)).text


class ErasedSerializer(serializers.Serializer[Any]):
    """What was erased."""

    lines = serializers.IntegerField(read_only=True)
    summaries = serializers.IntegerField(read_only=True)
    sessions = serializers.IntegerField(read_only=True)
