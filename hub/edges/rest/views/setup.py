"""What is set up: connections and agents."""

from typing import Any
from uuid import UUID

from django.db.models import ProtectedError, Q
from drf_spectacular.utils import extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Agent
from hub.edges.rest import asking, filters
from hub.edges.rest.base import Rows
from hub.edges.rest.problems import Refusal
from hub.edges.rest.shapes import setup as shapes
from hub.models import Connection, Session
from hub.pipeline.connections import seal_credentials
from hub.pipeline.operating import note
from hub.pipeline.reading import load, vault


class Connections(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    Rows,
):
    """Accounts on channels."""

    serializer_class = shapes.ConnectionSerializer
    queryset = Connection.objects.all()
    page_ordering = ("id",)
    filterset_class = filters.ConnectionFilter
    http_method_names = ("get", "post", "patch", "delete", "head")
    said = {
        "list": ("List connections", "Accounts on channels, the newest first. Credentials are never told."),
        "retrieve": ("Read a connection", "`webhook_path` is where the platform has to send its webhooks."),
        "create": (
            "Create a connection",
            "`credentials` are what the channel asks for; see docs/channels.",
        ),
        "partial_update": (
            "Change a connection",
            "Credentials that are given are merged with those that are stored; an empty one is taken away.",
        ),
        "destroy": ("Delete a connection", "One that nobody has written to; others are disabled instead."),
        "test": ("Test a connection", "Asks the platform whether the stored credentials work. Changes nothing."),
    }
    refusals = {"destroy": ("conflict",), "create": ("conflict",)}
    asks = ("test",)

    def get_serializer_class(self) -> Any:
        """A connection keeps its channel."""
        return shapes.ConnectionChangeSerializer if self.action == "partial_update" else shapes.ConnectionSerializer

    def of_agent(self, agent_id: UUID) -> Q:
        """Those that it answers."""
        return Q(agent_id=agent_id)

    def perform_create(self, serializer: Any) -> None:
        """Seal the credentials with the row."""
        self._save(serializer, Connection(tenant_id=self.caller.tenant_id), "connection.created")

    def perform_update(self, serializer: Any) -> None:
        """Seal the credentials again where they were given."""
        self._save(serializer, serializer.instance, "connection.changed")

    def perform_destroy(self, instance: Connection) -> None:
        """Only what nobody has written to; else it is disabled, so that nothing said is lost."""
        if Session.objects.filter(connection_id=instance.id).exists():
            raise Refusal("conflict", "It has conversations: disable it instead.")
        note(instance.tenant_id, "connection.deleted", data={"by": self.by}, connection_id=instance.id)
        instance.delete()

    @extend_schema(request=None, responses=shapes.ProbeSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Ask the platform."""
        return Response(asking.ask_platform(self.get_object()))

    def _save(self, serializer: Any, row: Connection, kind: str) -> None:
        given = dict(serializer.validated_data)
        bound = self.caller.agent_id
        if bound is not None and given.get("agent_id", bound) != bound:
            raise ValidationError({"agent_id": ["The key is bound to another agent."]})
        credentials = given.pop("credentials", None)
        for name, value in given.items():
            setattr(row, name, value)
        if credentials is not None:
            seal_credentials(vault(), row, credentials)
        row.save()
        serializer.instance = row
        note(row.tenant_id, kind, data={"by": self.by}, connection_id=row.id)


class Agents(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    Rows,
):
    """Agents."""

    serializer_class = shapes.AgentSerializer
    queryset = Agent.objects.all()
    filterset_class = filters.AgentFilter
    http_method_names = ("get", "post", "patch", "delete", "head")
    said = {
        "list": ("List agents", "The newest first; keys of model routes are never told."),
        "retrieve": ("Read an agent", "Prompt, routes, tools and memory policy, with the version that counts now."),
        "create": ("Create an agent", "Without routes it uses the hub's own model. Not for keys bound to an agent."),
        "partial_update": ("Change an agent", "Makes a new version; turns that run keep the one they began with."),
        "destroy": ("Delete an agent", "One that no connection uses."),
        "test": ("Test an agent's model", "Asks the first model route for one word. Changes nothing."),
    }
    refusals = {"destroy": ("conflict",), "create": ("conflict",), "partial_update": ("conflict",)}
    asks = ("test",)

    def of_agent(self, agent_id: UUID) -> Q:
        """Itself."""
        return Q(id=agent_id)

    def perform_create(self, serializer: Any) -> None:
        """A new agent; not for keys that are bound to one."""
        if self.caller.agent_id is not None:
            self.permission_denied(self.request, message="The key is bound to one agent.")
        self._save(serializer, Agent(tenant_id=self.caller.tenant_id), "agent.created")

    def perform_update(self, serializer: Any) -> None:
        """A new version."""
        self._save(serializer, serializer.instance, "agent.changed")

    def perform_destroy(self, instance: Agent) -> None:
        """Not while a connection needs it."""
        if Connection.objects.filter(agent_id=instance.id).exists():
            raise Refusal("conflict", "Connections use it.")
        try:
            instance.delete()
        except ProtectedError:
            raise Refusal("conflict") from None
        note(self.caller.tenant_id, "agent.deleted", data={"by": self.by, "agent": str(instance.pk)})

    @extend_schema(request=None, responses=shapes.ProbeSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Ask the model."""
        return Response(asking.ask_model(self.get_object()))

    def _save(self, serializer: Any, row: Agent, kind: str) -> None:
        given = dict(serializer.validated_data)
        secrets = given.pop("route_keys", None)
        for name, value in given.items():
            setattr(row, name, value)
        if secrets is not None:
            load(row.tenant_id)
            row.seal_keys(vault(), secrets)
        row.save()
        serializer.instance = row
        note(row.tenant_id, kind, data={"by": self.by, "agent": str(row.id)})
