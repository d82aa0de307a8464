"""Conversations: sessions with what was said in them, turns, deliveries, events."""

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from hub.edges.rest import filters
from hub.edges.rest.base import Rows
from hub.edges.rest.problems import Refusal
from hub.edges.rest.shapes import conversations as shapes
from hub.models import Delivery, Event, Message, Session, Turn
from hub.pipeline import posting
from hub.pipeline.messages import message_chunk
from hub.pipeline.operating import name_session, note, retry_delivery, skip_delivery
from hub.replay import replay
from hub.runtime import current_runtime

SHOWN_TURNS = Turn.objects.only(*shapes.TurnSerializer.Meta.fields)
"""What a turn is shown with; its row also holds what a runner needs to go on."""


class Sessions(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.UpdateModelMixin, Rows):
    """Conversations, the last active first."""

    serializer_class = shapes.SessionSerializer
    queryset = Session.objects.filter(last_inbound_at__isnull=False).defer("address", "address_hash")
    filterset_class = filters.SessionFilter
    page_ordering = ("last_inbound_at", "id")
    http_method_names = ("get", "post", "patch", "head")
    said = {
        "list": ("List sessions", "Conversations, the last active first. Stateless API calls are sessions too."),
        "retrieve": ("Read a session", "Its title is opened; `due_turns` says how many answers wait."),
        "partial_update": ("Change a session", "Title, star and archive are the tenant's own."),
        "messages": ("List a session's messages", "What was said, the newest first; the order is `seq`."),
        "post_message": (
            "Say something in a session",
            "As the assistant's words, beside the agent: stored, shown to everybody who watches, delivered on the "
            "session's channel, and remembered, so that the agent knows of it. Nobody answers it.",
        ),
        "turns": ("List a session's turns", "The answering passes, the newest first."),
    }
    refusals = {"post_message": ("conflict",)}

    def of_agent(self, agent_id: UUID) -> Q:
        """Its own sessions, and those of its connections that name no other."""
        return Q(agent_id=agent_id) | Q(agent_id=None, connection__agent_id=agent_id)

    def perform_update(self, serializer: Any) -> None:
        """Only the columns that people own: the ledger's are changed under its lock."""
        row, given = serializer.instance, dict(serializer.validated_data)
        title = given.pop("title", None)
        if given:
            Session.objects.filter(id=row.id).update(**given)
        if title is not None:
            name_session(row, title)
        note(row.tenant_id, "session.changed", data={"by": self.by, "fields": sorted(given)}, session_id=row.id)
        row.refresh_from_db(fields=["title", "starred", "archived"])

    @extend_schema(responses=shapes.MessageSerializer(many=True))
    @action(detail=True, serializer_class=shapes.MessageSerializer, filterset_class=None)
    def messages(self, request: Request, pk: str) -> Response:
        """What was said, the newest first; the order is `seq`."""
        return self.page(Message.objects.filter(session_id=self.get_object().id), "seq")

    @extend_schema(request=shapes.PostSerializer, responses={201: shapes.MessageSerializer})
    @messages.mapping.post
    def post_message(self, request: Request, pk: str) -> Response:
        """Store it and let it go out."""
        session = self.get_object()
        given = shapes.PostSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        try:
            posted = posting.post(session, values["text"], sender_name=values["sender_name"], by=self.by)
        except posting.NotPostable as error:
            raise Refusal("conflict", str(error)) from None
        transaction.on_commit(lambda: _tell(posted))
        return Response(shapes.MessageSerializer(posted.message).data, status=201)

    @extend_schema(responses=shapes.TurnSerializer(many=True))
    @action(detail=True, serializer_class=shapes.TurnSerializer, filterset_class=None)
    def turns(self, request: Request, pk: str) -> Response:
        """The answering passes, the newest first."""
        rows = SHOWN_TURNS.filter(session_id=self.get_object().id)
        return self.page(rows, "first_seq", "id")


def _tell(posted: posting.Posted) -> None:
    """Show it to those who watch; who misses the word reads what is stored."""
    runtime = current_runtime()
    if runtime is None:
        return
    message = posted.message
    chunk = message_chunk(message.id, message.seq, **posting.chunk_of(posted))

    async def tell() -> None:
        runtime.streams.stored(message.tenant_id, message.session_id, chunk)

    async_to_sync(tell)()


class Turns(mixins.RetrieveModelMixin, Rows):
    """One answering pass."""

    serializer_class = shapes.TurnSerializer
    queryset = SHOWN_TURNS
    http_method_names = ("get", "head")
    said = {"retrieve": ("Read a turn", "One answering pass: its steps with durations, tokens, recall and errors.")}

    def of_agent(self, agent_id: UUID) -> Q:
        """By the session's connection."""
        return Q(session__connection__agent_id=agent_id)


class Deliveries(mixins.ListModelMixin, mixins.RetrieveModelMixin, Rows):
    """Parts on their way, the newest first."""

    serializer_class = shapes.DeliverySerializer
    queryset = Delivery.objects.defer("address", "part", "platform_extra")
    filterset_class = filters.DeliveryFilter
    page_ordering = ("created", "id")
    http_method_names = ("get", "post", "head")
    said = {
        "list": ("List deliveries", "Parts of replies on their way to a platform, the newest first."),
        "retrieve": ("Read a delivery", "Where it stands, how often it was tried, and why it ended."),
        "retry": ("Send a delivery again", "One that is dead, unknown or skipped, or that waits for another try."),
        "skip": ("Give up a delivery", "One that waits; later parts of the session go on."),
        "replay": (
            "Send a delivery again with what followed it",
            "One that is dead or unknown, together with the parts that were skipped because of it, in their order. "
            "What was unknown may reach the person twice.",
        ),
    }
    refusals = dict.fromkeys(("retry", "skip", "replay"), ("conflict",))

    def of_agent(self, agent_id: UUID) -> Q:
        """By the connection."""
        return Q(connection__agent_id=agent_id)

    @extend_schema(request=None, responses=shapes.DeliverySerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Send it again."""
        return self._done(retry_delivery(self.get_object().id, by=self.by))

    @extend_schema(request=None, responses=shapes.DeliverySerializer)
    @action(detail=True, methods=["post"])
    def skip(self, request: Request, pk: str) -> Response:
        """Give it up."""
        return self._done(skip_delivery(self.get_object().id, by=self.by))

    @extend_schema(request=None, responses=shapes.ReplayedSerializer)
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Send it and its followers."""
        sent = replay(self.caller.tenant_id, [self.get_object().id], by=self.by)
        if not sent:
            raise Refusal("conflict")
        return Response({"deliveries": sent})

    def _done(self, done: bool) -> Response:  # noqa: FBT001
        if not done:
            raise Refusal("conflict")
        return Response(self.get_serializer(self.get_object()).data)


class Events(mixins.ListModelMixin, mixins.RetrieveModelMixin, Rows):
    """What happened, the newest first."""

    serializer_class = shapes.EventSerializer
    queryset = Event.objects.all()
    filterset_class = filters.EventFilter
    page_ordering = ("created", "id")
    http_method_names = ("get", "head")
    bound_keys = False
    said = {
        "list": ("List events", "Refusals, faults, take-overs, dead letters and what people changed."),
        "retrieve": ("Read an event", "One entry of the trail."),
    }
