"""The OpenAPI document and a page that shows it; both are open to all and hold nothing of a tenant."""

from typing import Any, Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from hub.edges.rest.schema import openapi

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Everything from here; the page's own style element is in its template."""


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """The document."""
    answer = JsonResponse(openapi(), json_dumps_params={"ensure_ascii": False})
    answer["Cache-Control"] = "public, max-age=300"
    return answer


class Docs(SpectacularSwaggerSplitView):
    """Swagger UI from the installed package, its script as a file of its own."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    schema = None  # it is no operation of the API
    url_name = "schema"
    url_self = None

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The page, or its script."""
        answer: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        answer["Content-Security-Policy"] = POLICY
        return answer


docs = Docs.as_view()
