"""People: contacts, persons, and what is remembered of a subject (a person, a contact or a group)."""

from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from hub.edges.rest import filters
from hub.edges.rest.base import Rows
from hub.edges.rest.shapes import people as shapes
from hub.models import Contact, Person
from hub.pipeline.forgetting import forget
from hub.pipeline.operating import note
from memory.models import MemoryLine, Summary

MAX_WORDS: Final = 200
WORDS: Final = OpenApiParameter(
    "q", {"type": "string", "maxLength": MAX_WORDS}, description="Words to look for, in any case."
)


class Contacts(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.UpdateModelMixin, Rows):
    """People as one connection knows them."""

    serializer_class = shapes.ContactSerializer
    queryset = Contact.objects.defer("external")
    filterset_class = filters.ContactFilter
    page_ordering = ("created", "id")
    http_method_names = ("get", "patch", "head")
    said = {
        "list": ("List contacts", "People as the connections know them, the newest first."),
        "retrieve": ("Read a contact", "The name is as the platform calls them."),
        "partial_update": ("Block or unblock a contact", "What a blocked contact says is stored and not answered."),
    }

    def of_agent(self, agent_id: UUID) -> Q:
        """By the connection."""
        return Q(connection__agent_id=agent_id)

    def perform_update(self, serializer: shapes.ContactSerializer) -> None:  # type: ignore[override]
        """With an entry in the trail."""
        row: Contact = serializer.save()
        data = {"by": self.by, "contact": str(row.id), "blocked": row.blocked}
        note(row.tenant_id, "contact.changed", data=data, connection_id=row.connection_id)


class Persons(mixins.ListModelMixin, mixins.RetrieveModelMixin, Rows):
    """Humans behind contacts."""

    serializer_class = shapes.PersonSerializer
    queryset = Person.objects.all()
    http_method_names = ("get", "head")
    bound_keys = False
    said = {
        "list": ("List persons", "Humans who are known on one or more connections, the newest first."),
        "retrieve": ("Read a person", "With the contacts that are theirs; their memory is one."),
    }


class Subjects(Rows):
    """What is remembered of a subject: a session names it as `subject_id`, a contact or person by its own id."""

    queryset = Summary.objects.defer("body", "shelf", "terms", "vector")
    serializer_class = shapes.SummarySerializer
    http_method_names = ("get", "delete", "head")
    bound_keys = False
    said = {
        "summaries": (
            "Search a subject's summaries",
            "Fragments of conversations told short, the newest first. With `q`, those with all of its words: such a "
            "page may hold fewer rows than were asked for, or none, while `next` leads on.",
        ),
        "lines": ("Search a subject's remembered lines", "Those that no summary holds yet; `q` as for summaries."),
        "memory": (
            "Erase a subject's memory",
            "For good: lines, summaries and what waits to be summarised. What is stored as messages stays.",
        ),
    }

    def query_names(self) -> frozenset[str]:
        """Pages, and words to look for."""
        return frozenset() if self.action == "memory" else super().query_names() | {"q"}

    @extend_schema(parameters=[WORDS], responses=shapes.SummarySerializer(many=True))
    @action(detail=True)
    def summaries(self, request: Request, pk: str) -> Response:
        """Opened, page by page."""
        return self._found(self.get_queryset().filter(subject_id=pk))

    @extend_schema(parameters=[WORDS], responses=shapes.LineSerializer(many=True))
    @action(detail=True, serializer_class=shapes.LineSerializer)
    def lines(self, request: Request, pk: str) -> Response:
        """Opened, page by page."""
        return self._found(MemoryLine.objects.filter(subject_id=pk))

    @extend_schema(request=None, responses={200: shapes.ErasedSerializer})
    @action(detail=True, methods=["delete"])
    def memory(self, request: Request, pk: str) -> Response:
        """Gone at once."""
        erased = forget(self.caller.tenant_id, subject_id=UUID(pk))
        note(self.caller.tenant_id, "memory.erased", data={"by": self.by, "subject": pk, **erased})
        return Response(erased)

    def _found(self, rows: QuerySet[Any]) -> Response:
        # What is sealed cannot be searched by the database, so a page is read and then narrowed.
        answer = self.page(rows, "id")
        words = _words(self.request)
        if words:
            answer.data["results"] = [
                row for row in answer.data["results"] if all(word in row["text"].casefold() for word in words)
            ]
        return answer


def _words(request: Request) -> list[str]:
    text = request.query_params.get("q", "")
    if len(text) > MAX_WORDS or "\0" in text:
        raise ValidationError({"q": [f"at most {MAX_WORDS} characters"]})
    return text.casefold().split()
