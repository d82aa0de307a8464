"""What every REST view does: find the caller, count the request, enter the tenant's scope, answer with problems."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, ClassVar, cast
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from hub.edges import rates
from hub.edges.rates import Allowance
from hub.edges.rest.access import BearerKey, Caller, InScope, caller_of
from hub.edges.rest.once import Once
from hub.edges.rest.pages import PARAMETERS, KeysetPages
from hub.edges.rest.parsing import StrictJson
from hub.edges.rest.problems import Refusal, problem
from hub.edges.rest.schema import DescribedSchema
from tenants.context import tenant_scope

PAGED = ("list", "messages", "turns", "summaries", "lines")
"""Actions that give out pages."""


class Replayed(Exception):
    """The request was done before."""

    def __init__(self, response: Response) -> None:
        super().__init__("replayed")
        self.response = response


class TenantView(APIView):
    """Runs under the caller's tenant; foreign rows do not exist here.

    `said` names what each action does: a summary and more, for the OpenAPI document.
    """

    authentication_classes = (BearerKey, SessionAuthentication)
    permission_classes = (InScope,)
    parser_classes = (StrictJson,)
    metadata_class = None
    schema = DescribedSchema()
    said: ClassVar[Mapping[str, tuple[str, str]]] = {}
    parameters: ClassVar[frozenset[str]] = frozenset()
    """Names in the query, beside those of pages and filters."""
    refusals: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Problems of single actions, beside those that belong to all."""
    asks: ClassVar[tuple[str, ...]] = ()
    """Actions that ask somebody else and change nothing: never in a transaction, and asked anew each time."""
    caller: Caller
    allowance: Allowance | None = None
    once: Once | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As the framework's, leaving the tenant afterwards."""
        with ExitStack() as self._scopes:
            return super().dispatch(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """Find the caller and enter its tenant, before permissions are asked. Raises Refusal (409)."""
        super().perform_authentication(request)
        if not request.user or not request.user.is_authenticated:
            return
        found = caller_of(request)
        if found is None:
            raise Refusal("no_tenant")
        self.caller = found
        self._scopes.enter_context(tenant_scope(found.tenant_id))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """As the framework's; then the query's names and, on POST, whether it was asked before."""
        super().initial(request, *args, **kwargs)
        if not self._answers(request.method or ""):
            return
        self._check_query(request)
        if request.method == "POST":
            self._begin_once(request)

    def check_permissions(self, request: Request) -> None:
        """As the framework's, after the request was counted: what is refused counts too."""
        caller = getattr(self, "caller", None)
        if caller is not None:
            self.allowance = rates.spend_sync(caller.tenant_id, caller.name)
            if self.allowance.exceeded:
                raise Refusal("rate_limited", wait=float(self.allowance.resets))
        super().check_permissions(request)

    def handle_exception(self, exc: Exception) -> Response:
        """As the framework's; a request that was done before gets its answer again."""
        if isinstance(exc, Replayed):
            return exc.response
        return super().handle_exception(exc)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """As the framework's; success under a key is kept, and every answer says what may still be asked."""
        if self.once is not None and response.status_code < 300:
            self.once.keep(response)
        for name, value in (self.allowance.headers() if self.allowance is not None else {}).items():
            response[name] = value
        response["Cache-Control"] = "no-store"
        return super().finalize_response(request, response, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        """Problems."""
        return problem

    def query_names(self) -> frozenset[str]:
        """What the query may hold."""
        return self.parameters

    @property
    def by(self) -> str:
        """The caller's name for the audit trail."""
        return self.caller.name

    @property
    def is_schema(self) -> bool:
        """Whether only the schema is being written, without a caller."""
        return cast(bool, getattr(self, "swagger_fake_view", False))

    @property
    def keeps_answers(self) -> bool:
        """Whether an Idempotency-Key counts here."""
        return getattr(self, "action", "") not in self.asks

    def _answers(self, method: str) -> bool:
        # A view set has a handler under a method's name only where the address maps one.
        return method.lower() in self.http_method_names and hasattr(self, method.lower())

    def _check_query(self, request: Request) -> None:
        names = self.query_names()
        for name, values in request.query_params.lists():
            if name not in names:
                known = f"There are: {', '.join(sorted(names))}." if names else "There are none."
                raise Refusal("unknown_parameter", f"There is no parameter {name[:40]!r} here. {known}")
            if len(values) > 1:
                raise Refusal("unknown_parameter", f"The parameter {name!r} is there twice.")
            if not values[0]:
                raise ValidationError({name: ["A value is needed; leave the parameter out for none."]})

    def _begin_once(self, request: Request) -> None:
        once = Once.of(request, self.caller)
        if once is None or not self.keeps_answers:
            return
        self._scopes.enter_context(transaction.atomic())
        before = once.begin()
        if before is not None:
            raise Replayed(before)
        self.once = once


class Rows(TenantView, GenericViewSet[Any]):
    """Rows of the tenant; a key that is bound to an agent sees that agent's only."""

    pagination_class = KeysetPages
    lookup_value_regex = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    page_ordering: tuple[str, ...] = ("id",)
    bound_keys = True
    """Whether keys that are bound to an agent come here at all."""

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The caller's part, then what was asked for."""
        agent_id = None if self.is_schema else self.caller.agent_id
        if agent_id is not None:
            queryset = queryset.filter(self.of_agent(agent_id))
        return super().filter_queryset(queryset)

    def of_agent(self, agent_id: UUID) -> Q:
        """Which rows belong to one agent."""
        raise NotImplementedError

    def check_permissions(self, request: Request) -> None:
        """As above, and whether a bound key may come."""
        super().check_permissions(request)
        if not self.bound_keys and self.caller.agent_id is not None:
            self.permission_denied(request, message="The key is bound to one agent.")

    def query_names(self) -> frozenset[str]:
        """Pages and filters, where the action gives out rows."""
        if self.action not in PAGED:
            return self.parameters
        filters = getattr(self, "filterset_class", None) if self.action == "list" else None
        names = filters.base_filters if filters is not None else ()
        return frozenset([*PARAMETERS, *names]) | self.parameters

    def get_object(self) -> Any:
        """The row, or 404 also for ids that are none."""
        try:
            UUID(str(self.kwargs["pk"]))
        except ValueError:
            raise NotFound from None
        return super().get_object()

    def page(self, rows: QuerySet[Any], *ordering: str) -> Response:
        """A page of other rows than the view's own."""
        self.page_ordering = ordering
        found = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(found, many=True).data)
