"""Errors as RFC 9457 problem details, each with a `type` that programs may compare; the vocabulary is `PROBLEMS`."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, transaction
from django.http import Http404, HttpRequest, JsonResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ValidationError
from rest_framework.exceptions import PermissionDenied as Forbidden
from rest_framework.response import Response

from tenants.ids import uuid7

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
PREFIX: Final = "urn:hub:problem:"
PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "invalid": (400, "Values of the body or of the query are wrong; `errors` names each with its reasons."),
    "malformed": (400, "The body is not JSON, is nested too deeply, or holds characters that no text may hold."),
    "unknown_parameter": (400, "The query has a parameter that this operation does not know, or has one twice."),
    "bad_cursor": (400, "The cursor was not given out by this list."),
    "bad_idempotency_key": (400, "An Idempotency-Key has 1 to 255 visible ASCII characters."),
    "not_authenticated": (401, "A key is needed: Authorization: Bearer hub_…"),
    "authentication_failed": (401, "The key is unknown, expired or revoked."),
    "permission_denied": (403, "The key lacks the scope, or is bound to another agent."),
    "not_found": (404, "There is no such thing for this tenant and key."),
    "method_not_allowed": (405, "The address exists, the method does not; `Allow` names those that do."),
    "not_acceptable": (406, "Answers are application/json only."),
    "body_too_slow": (408, "The body did not arrive within ten seconds."),
    "conflict": (409, "The state of the thing does not allow it."),
    "in_progress": (409, "A request with the same Idempotency-Key is still being worked on; ask again."),
    "no_tenant": (409, "A console user who reads all tenants must choose one first."),
    "body_too_large": (413, "The body is larger than 1 MiB."),
    "unsupported_media_type": (415, "The body must be application/json, not packed."),
    "idempotency_key_reused": (422, "The Idempotency-Key was used for another request within 24 hours."),
    "rate_limited": (429, "Too many requests in this minute; `Retry-After` says when to go on."),
    "headers_too_large": (431, "The request's headers or query are too large."),
    "internal": (500, "A fault of ours; `detail` has a trace number that the log knows."),
    "unavailable": (503, "The database cannot be reached; nothing was done, so ask again."),
}
_FRAMEWORK: Final = {
    "parse_error": "malformed",
    "throttled": "rate_limited",
    "error": "internal",
}
"""The framework's codes that are named otherwise here."""


class Refusal(APIException):
    """A refusal by a name of the vocabulary; `wait` in seconds becomes Retry-After."""

    def __init__(self, code: str, detail: str = "", *, wait: float | None = None) -> None:
        self.status_code, meaning = PROBLEMS[code]
        self.default_code = code
        self.wait = wait
        super().__init__(detail or meaning, code)


def problem(error: Exception, context: dict[str, Any]) -> Response:
    """The framework's hook: a problem body for everything; a fault of ours is logged with the trace it names."""
    known = _known(error)
    if known is None:
        trace = uuid7().hex
        log.error("rest_failed", trace=trace, exc_info=error)
        known = Refusal("internal", f"Something went wrong; the trace is {trace}.")
    body = document(known.status_code, _detail(known), code=_code(known))
    if isinstance(known, ValidationError):
        body["errors"] = _errors(known.detail)
    headers = {}
    if getattr(known, "auth_header", None):
        headers["WWW-Authenticate"] = known.auth_header  # type: ignore[attr-defined]
    if getattr(known, "wait", None):
        headers["Retry-After"] = str(max(1, round(known.wait)))  # type: ignore[attr-defined]
    if transaction.get_connection().in_atomic_block:
        transaction.set_rollback(True)
    return Response(body, status=known.status_code, headers=headers, content_type=MEDIA_TYPE)


def document(status: int, detail: str, *, code: str) -> dict[str, Any]:
    """The members of a problem."""
    return {"type": PREFIX + code, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


@csrf_exempt
def unknown_path(request: HttpRequest) -> JsonResponse:
    """What answers below /api/ where nothing is."""
    body = document(404, "There is nothing at this address.", code="not_found")
    return JsonResponse(body, status=404, content_type=MEDIA_TYPE)


# In this order; what the database says is told without its words.
_MEANINGS: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any], APIException]], ...]] = (
    (APIException, lambda error: error),
    (Http404, lambda _: NotFound()),
    (PermissionDenied, lambda _: Forbidden()),
    (DjangoValidationError, lambda e: ValidationError(getattr(e, "message_dict", None) or e.messages)),
    (RequestDataTooBig, lambda _: Refusal("body_too_large")),
    (UnreadablePostError, lambda _: Refusal("malformed", "The body broke off.")),
    (DataError, lambda _: ValidationError({"body": ["A value is outside what can be stored."]})),
    (IntegrityError, lambda _: Refusal("conflict", "Another row stands against it.")),
    ((OperationalError, InterfaceError), lambda _: Refusal("unavailable", wait=1.0)),
)


def _known(error: Exception) -> APIException | None:
    for kinds, meaning in _MEANINGS:
        if isinstance(error, kinds):
            return meaning(error)
    return None


def _code(error: APIException) -> str:
    if isinstance(error, ValidationError):
        return "invalid"
    return _FRAMEWORK.get(str(error.default_code), str(error.default_code))


def _detail(error: APIException) -> str:
    if isinstance(error, ValidationError):
        return "Some values are not valid."
    return str(error.detail if isinstance(error.detail, ErrorDetail | str) else error.default_detail)


def _errors(detail: Any) -> dict[str, Any]:
    return dict(detail) if isinstance(detail, dict) else {"body": detail}
