"""What every REST view does: find the caller, enter the tenant's scope, page by keys, answer with problems."""

from contextlib import ExitStack
from typing import Any, cast

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from hub.edges.rest.access import BearerKey, Caller, InScope, caller_of
from hub.edges.rest.problems import NoTenantChosen, problem
from tenants.context import tenant_scope


class KeysetPages(CursorPagination):
    """Pages that neither count nor skip; `page_size` up to 200."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200
    ordering = "-id"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        """As the framework's; a cursor that was made up is not found."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, DjangoValidationError):
            raise NotFound("The cursor is not valid.") from None

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> Any:
        """The view's, always along an index."""
        return (getattr(view, "page_ordering", self.ordering),)


class TenantView(APIView):
    """Runs under the caller's tenant; foreign rows do not exist here."""

    authentication_classes = (BearerKey, SessionAuthentication)
    permission_classes = (InScope,)
    caller: Caller

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As the framework's, leaving the tenant afterwards."""
        with ExitStack() as self._scopes:
            return super().dispatch(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """Find the caller and enter its tenant, before permissions are asked. Raises NoTenantChosen (409)."""
        super().perform_authentication(request)
        if not request.user or not request.user.is_authenticated:
            return
        found = caller_of(request)
        if found is None:
            raise NoTenantChosen
        self.caller = found
        self._scopes.enter_context(tenant_scope(found.tenant_id))

    def get_exception_handler(self) -> Any:
        """Problems."""
        return problem

    @property
    def by(self) -> str:
        """The caller's name for the audit trail."""
        return self.caller.name

    @property
    def is_schema(self) -> bool:
        """Whether only the schema is being written, without a caller."""
        return cast(bool, getattr(self, "swagger_fake_view", False))
