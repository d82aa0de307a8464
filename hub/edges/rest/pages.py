"""Pages that neither count nor skip: each list goes down an index, and a signed cursor says where to go on."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django.core import signing
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Model, Q
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from hub.edges.rest.problems import Refusal

PAGE_SIZE: Final = 50
MOST: Final = 200
PARAMETERS: Final = ("cursor", "page_size")


class KeysetPages(BasePagination):
    """Newest first by the view's `page_ordering` (names of columns, the last of them unique)."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """The page's rows. Raises Refusal for a cursor that this list did not give out."""
        names: Sequence[str] = view.page_ordering
        size = _size(request)
        salt = f"hub.cursor:{view.caller.tenant_id}:{request.path}:{','.join(names)}"
        text = request.query_params.get("cursor")
        if text is not None:
            queryset = queryset.filter(_after(queryset.model, names, _opened(text, salt)))
        rows = list(queryset.order_by(*(f"-{name}" for name in names))[: size + 1])
        self._next = None
        if len(rows) > size:
            rows = rows[:size]
            values = [str(getattr(rows[-1], name)) for name in names]
            self._next = _url(request, signing.dumps(values, salt=salt))
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        """The rows and where to go on, also as a Link header."""
        headers = {} if self._next is None else {"Link": f'<{self._next}>; rel="next"'}
        return Response({"next": self._next, "results": data}, headers=headers)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """For the OpenAPI document."""
        following = {
            "type": ["string", "null"],
            "format": "uri",
            "description": "The address of the next page; null on the last one.",
        }
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {"next": following, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """For the OpenAPI document."""
        size = {"type": "integer", "minimum": 1, "maximum": MOST, "default": PAGE_SIZE}
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "description": "From the `next` of the page before; signed, not to be made up.",
            },
            {
                "name": "page_size",
                "in": "query",
                "required": False,
                "schema": size,
                "description": "How many rows a page holds.",
            },
        ]


def _size(request: Request) -> int:
    text = request.query_params.get("page_size", str(PAGE_SIZE))
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MOST):
        raise ValidationError({"page_size": [f"1 to {MOST}"]})
    return int(text)


def _opened(text: str, salt: str) -> list[str]:
    try:
        found: list[str] = signing.loads(text, salt=salt)
    except (signing.BadSignature, ValueError):
        raise Refusal("bad_cursor") from None
    return found


def _after(model: type[Model], names: Sequence[str], texts: Sequence[str]) -> Q:
    try:
        fields = [model._meta.get_field(name) for name in names]
        values = [field.to_python(text) for field, text in zip(fields, texts, strict=True)]  # type: ignore[union-attr]
    except (ValueError, DjangoValidationError):
        raise Refusal("bad_cursor") from None
    # The first condition bounds the index; the others place rows that share the first column's value.
    found = Q(**{f"{names[0]}__lte" if len(names) > 1 else f"{names[0]}__lt": values[0]})
    if len(names) > 1:
        found &= Q(**{f"{names[0]}__lt": values[0]}) | Q(**{names[0]: values[0], f"{names[1]}__lt": values[1]})
    return found


def _url(request: Request, cursor: str) -> str:
    given = {name: value for name, value in request.query_params.items() if name != "cursor"}
    return request.build_absolute_uri(f"{request.path}?{urlencode({**given, 'cursor': cursor})}")
