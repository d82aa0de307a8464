"""A tenant's own rows over HTTP: thin, each view names its rows, its filters and its order along an index."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, ProtectedError, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from agents.models import Agent
from hub.edges.rest import serializers as shapes
from hub.edges.rest.access import KEYS
from hub.edges.rest.base import KeysetPages, TenantView
from hub.models import Connection, Delivery, DeliveryStatus, Message, Session, SessionOwner, Turn
from hub.pipeline.connections import seal_credentials
from hub.pipeline.operating import name_session, note, retry_delivery, skip_delivery
from hub.pipeline.reading import load, vault
from tenants import keys
from tenants.ids import floor
from tenants.models import ApiKey, Quota, Tenant, Usage

USAGE_DAYS: Final = 31


class Conflict(APIException):
    """The row's state does not allow it."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "Its state does not allow that."
    default_code = "conflict"


class SessionFilter(filters.FilterSet):  # type: ignore[misc]
    """What sessions are asked for."""

    connection = filters.UUIDFilter(field_name="connection_id")
    contact = filters.UUIDFilter(field_name="contact_id")
    owner = filters.ChoiceFilter(choices=SessionOwner.choices)
    starred = filters.BooleanFilter()
    archived = filters.BooleanFilter()
    current = filters.BooleanFilter()


class DeliveryFilter(filters.FilterSet):  # type: ignore[misc]
    """What deliveries are asked for."""

    status = filters.ChoiceFilter(choices=DeliveryStatus.choices)
    session = filters.UUIDFilter(field_name="session_id")
    connection = filters.UUIDFilter(field_name="connection_id")


class Rows(TenantView, GenericViewSet[Any]):
    """Rows of the tenant; a key that is bound to an agent sees that agent's only."""

    pagination_class = KeysetPages
    lookup_value_regex = "[0-9a-fA-F-]{36}"

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The caller's part, then what was asked for."""
        agent_id = None if self.is_schema else self.caller.agent_id
        if agent_id is not None:
            queryset = queryset.filter(self.of_agent(agent_id))
        return super().filter_queryset(queryset)

    def of_agent(self, agent_id: UUID) -> Q:
        """Which rows belong to one agent."""
        raise NotImplementedError

    def get_object(self) -> Any:
        """The row, or 404 also for ids that are none."""
        try:
            UUID(str(self.kwargs["pk"]))
        except ValueError:
            raise NotFound from None
        return super().get_object()


class Sessions(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.UpdateModelMixin, Rows):
    """Conversations, the last active first."""

    serializer_class = shapes.SessionSerializer
    queryset = Session.objects.filter(last_inbound_at__isnull=False).defer("address", "address_hash")
    filterset_class = SessionFilter
    page_ordering = "-last_inbound_at"
    http_method_names = ("get", "patch", "head", "options")

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
        return self._of_session(Message.objects.filter(session_id=self.get_object().id), "-seq")

    @extend_schema(responses=shapes.TurnSerializer(many=True))
    @action(detail=True, serializer_class=shapes.TurnSerializer, filterset_class=None)
    def turns(self, request: Request, pk: str) -> Response:
        """The answering passes, the newest first."""
        rows = Turn.objects.filter(session_id=self.get_object().id).defer("partial", "journal")
        return self._of_session(rows, "-first_seq")

    def _of_session(self, rows: QuerySet[Any], ordering: str) -> Response:
        self.page_ordering = ordering
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class Turns(mixins.RetrieveModelMixin, Rows):
    """One answering pass."""

    serializer_class = shapes.TurnSerializer
    queryset = Turn.objects.defer("partial", "journal")

    def of_agent(self, agent_id: UUID) -> Q:
        """By the session's connection."""
        return Q(session__connection__agent_id=agent_id)


class Deliveries(mixins.ListModelMixin, mixins.RetrieveModelMixin, Rows):
    """Parts on their way, the newest first."""

    serializer_class = shapes.DeliverySerializer
    queryset = Delivery.objects.defer("address", "part", "platform_extra")
    filterset_class = DeliveryFilter
    page_ordering = "-created"

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

    def _done(self, done: bool) -> Response:  # noqa: FBT001
        if not done:
            raise Conflict
        return Response(self.get_serializer(self.get_object()).data)


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
    filterset_fields = ("channel", "status", "agent_id")
    http_method_names = ("get", "post", "patch", "delete", "head", "options")

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
            raise Conflict("It has conversations: disable it instead.")
        note(instance.tenant_id, "connection.deleted", data={"by": self.by}, connection_id=instance.id)
        instance.delete()

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
    filterset_fields = ("name",)
    http_method_names = ("get", "post", "patch", "delete", "head", "options")

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
            raise Conflict("Connections use it.")
        try:
            instance.delete()
        except ProtectedError:
            raise Conflict from None
        note(self.caller.tenant_id, "agent.deleted", data={"by": self.by, "agent": str(instance.pk)})

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


class ApiKeys(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, mixins.DestroyModelMixin, Rows
):
    """API keys. Deleting revokes; the row stays for the trail."""

    serializer_class = shapes.ApiKeySerializer
    queryset = ApiKey.objects.all()
    scope = KEYS

    def of_agent(self, agent_id: UUID) -> Q:
        """Keys that are bound to an agent never come here."""
        return Q(agent_id=agent_id)

    def perform_create(self, serializer: Any) -> None:
        """Issue it, with no more than the caller's own scopes."""
        given = serializer.validated_data
        if excess := set(given["scopes"]) - self.caller.grantable:
            raise ValidationError({"scopes": [f"You cannot give what you do not have: {', '.join(sorted(excess))}."]})
        agent_id = given.get("agent_id")
        if agent_id is not None and not Agent.objects.filter(id=agent_id).exists():
            raise ValidationError({"agent_id": ["There is no such agent."]})
        issued = keys.issue(
            self.caller.tenant_id,
            scopes=given["scopes"],
            name=given.get("name", ""),
            agent_id=agent_id,
            expires_at=given.get("expires_at"),
        )
        row = ApiKey.objects.get(id=issued.id)
        row.key = issued.key
        serializer.instance = row
        note(row.tenant_id, "api_key.issued", data={"by": self.by, "prefix": row.prefix})

    def perform_destroy(self, instance: ApiKey) -> None:
        """End it."""
        if keys.revoke(instance.tenant_id, instance.id):
            note(instance.tenant_id, "api_key.revoked", data={"by": self.by, "prefix": instance.prefix})


class TenantInfo(TenantView):
    """The caller's own tenant."""

    @extend_schema(responses=shapes.TenantSerializer)
    def get(self, request: Request) -> Response:
        """Name, plan and status."""
        return Response(shapes.TenantSerializer(Tenant.objects.select_related("plan").get()).data)


class Quotas(TenantView):
    """Limits and what is used of them."""

    @extend_schema(responses=shapes.QuotaSerializer(many=True))
    def get(self, request: Request) -> Response:
        """One entry per metric."""
        return Response(shapes.QuotaSerializer(Quota.objects.order_by("metric"), many=True).data)


class UsageByDay(TenantView):
    """What model calls cost, by day, model and kind."""

    @extend_schema(
        parameters=[
            OpenApiParameter("days", OpenApiTypes.INT, description="How far back, at most 31; 7 unless given.")
        ],
        responses=shapes.SpentSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """The newest day first. Ids are times, so the index bounds the look."""
        text = request.query_params.get("days", "7")
        if not text.isdecimal() or not 1 <= int(text) <= USAGE_DAYS:
            raise ValidationError({"days": [f"1 to {USAGE_DAYS}"]})
        since = datetime.now(UTC) - timedelta(days=int(text))
        rows = (
            Usage.objects.filter(id__gte=floor(since))
            .annotate(day=TruncDate("created_at"))
            .values("day", "model", "kind")
            .annotate(
                calls=Count("id"),
                input_tokens=Sum("input_tokens"),
                output_tokens=Sum("output_tokens"),
                cached_tokens=Sum("cached_tokens"),
                cost=Sum("cost"),
            )
            .order_by("-day", "model", "kind")[:1000]
        )
        return Response(shapes.SpentSerializer(rows, many=True).data)
