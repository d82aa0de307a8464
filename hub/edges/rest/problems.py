"""Errors as RFC 9457 problem details."""

from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ValidationError
from rest_framework.exceptions import PermissionDenied as Forbidden
from rest_framework.response import Response
from rest_framework.views import set_rollback

MEDIA_TYPE: Final = "application/problem+json"


class NoTenantChosen(APIException):
    """A console user who reads all tenants must choose one first."""

    status_code = HTTPStatus.CONFLICT
    default_detail = "Choose a tenant in the console first."
    default_code = "no_tenant"


def problem(error: Exception, context: dict[str, Any]) -> Response | None:
    """The framework's hook: a problem body for what it knows; anything else is a fault of ours and goes on."""
    known = _known(error)
    if known is None:
        return None
    set_rollback()
    body = document(known.status_code, _detail(known), code=_code(known))
    if isinstance(known, ValidationError):
        body["errors"] = known.detail
    headers = {}
    if getattr(known, "auth_header", None):
        headers["WWW-Authenticate"] = known.auth_header  # type: ignore[attr-defined]
    if getattr(known, "wait", None):
        headers["Retry-After"] = str(int(known.wait))  # type: ignore[attr-defined]
    return Response(body, status=known.status_code, headers=headers, content_type=MEDIA_TYPE)


def document(status: int, detail: str, *, code: str) -> dict[str, Any]:
    """The members of a problem; the type is a name that programs may compare."""
    return {"type": f"urn:hub:problem:{code}", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


def unknown_path(request: HttpRequest, rest: str = "") -> JsonResponse:
    """What answers below /api/ where nothing is."""
    body = document(404, "There is nothing at this address.", code="not_found")
    return JsonResponse(body, status=404, content_type=MEDIA_TYPE)


def _known(error: Exception) -> APIException | None:
    if isinstance(error, APIException):
        return error
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, PermissionDenied):
        return Forbidden()
    if isinstance(error, DjangoValidationError):
        return ValidationError(getattr(error, "message_dict", None) or error.messages)
    return None


def _code(error: APIException) -> str:
    return "invalid" if isinstance(error, ValidationError) else str(error.default_code)


def _detail(error: APIException) -> str:
    if isinstance(error, ValidationError):
        return "Some values are not valid."
    return str(error.detail if isinstance(error.detail, ErrorDetail | str) else error.default_detail)
