"""The tenant itself: keys, limits, what was used."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDate
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Agent
from hub.edges.rest.access import KEYS
from hub.edges.rest.base import Rows, TenantView
from hub.edges.rest.shapes import account as shapes
from hub.pipeline.operating import note
from tenants import keys
from tenants.ids import floor
from tenants.models import ApiKey, Quota, Tenant, Usage

USAGE_DAYS: Final = 31


class ApiKeys(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, mixins.DestroyModelMixin, Rows
):
    """API keys. Deleting revokes; the row stays for the trail."""

    serializer_class = shapes.ApiKeySerializer
    queryset = ApiKey.objects.all()
    scope = KEYS
    http_method_names = ("get", "post", "delete", "head")
    said = {
        "list": ("List API keys", "With their scopes and last use; never the key itself."),
        "retrieve": ("Read an API key", "Its row stays after it was revoked."),
        "create": ("Issue an API key", "`key` is in this answer and never again. A key gives no scope it lacks."),
        "destroy": ("Revoke an API key", "It stops within five seconds; the row stays for the trail."),
    }

    def get_serializer_class(self) -> Any:
        """The secret is in the answer to its making only."""
        return shapes.IssuedKeySerializer if self.action == "create" else shapes.ApiKeySerializer

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

    http_method_names = ("get", "head")
    said = {"get": ("Read the tenant", "Name, plan and status of the caller's own tenant.")}

    @extend_schema(responses=shapes.TenantSerializer)
    def get(self, request: Request) -> Response:
        """Name, plan and status."""
        return Response(shapes.TenantSerializer(Tenant.objects.select_related("plan").get()).data)


class Quotas(TenantView):
    """Limits and what is used of them."""

    http_method_names = ("get", "head")
    said = {"get": ("List quotas", "Limits and what is used of them, one entry for each metric.")}

    @extend_schema(responses=shapes.QuotaSerializer(many=True))
    def get(self, request: Request) -> Response:
        """One entry per metric."""
        return Response(shapes.QuotaSerializer(Quota.objects.order_by("metric"), many=True).data)


class UsageByDay(TenantView):
    """What model calls cost, by day, model and kind."""

    http_method_names = ("get", "head")
    said = {"get": ("Read usage", "What model calls cost, by day, model and kind; the newest day first.")}
    parameters = frozenset({"days"})

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "days",
                {"type": "integer", "minimum": 1, "maximum": USAGE_DAYS, "default": 7},
                description="How far back.",
            )
        ],
        responses=shapes.SpentSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """The newest day first. Ids are times, so the index bounds the look."""
        text = request.query_params.get("days", "7")
        if not (text.isascii() and text.isdecimal() and len(text) < 4) or not 1 <= int(text) <= USAGE_DAYS:
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
