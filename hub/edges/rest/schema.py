"""The OpenAPI document: what each operation needs, answers and refuses, with examples, gathered from the views."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from django.utils.translation import override
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema

from hub.edges.rest.access import READ, WRITE
from hub.edges.rest.examples import EXAMPLES
from hub.edges.rest.problems import MEDIA_TYPE, PREFIX, PROBLEMS
from hub.edges.rest.problems import document as problem_document

_SAFE: Final = frozenset({"GET", "HEAD"})
_ALWAYS: Final = (
    "unknown_parameter", "not_authenticated", "authentication_failed", "permission_denied", "no_tenant",
    "not_acceptable", "rate_limited", "headers_too_large", "internal", "unavailable",
)  # fmt: skip
_WITH_BODY: Final = (
    "invalid", "malformed", "body_too_slow", "body_too_large", "unsupported_media_type"
)  # fmt: skip
_ONCE: Final = ("bad_idempotency_key", "in_progress", "idempotency_key_reused")
_LIMITS: Final = {
    "RateLimit": {"$ref": "#/components/headers/RateLimit"},
    "RateLimit-Policy": {"$ref": "#/components/headers/RateLimitPolicy"},
}
_HEADERS: Final = {
    "RateLimit": {
        "description": 'What is left of this minute: `"minute";r=<requests>;t=<seconds>`. Not there without a limit.',
        "schema": {"type": "string"},
        "example": '"minute";r=598;t=41',
    },
    "RateLimitPolicy": {
        "description": 'The key\'s limit: `"minute";q=<requests>;w=60`. Not there without a limit.',
        "schema": {"type": "string"},
        "example": '"minute";q=600;w=60',
    },
    "RetryAfter": {
        "description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}, "example": 1
    },
    "Link": {
        "description": "`rel=\"next\"`: the next page.",
        "schema": {"type": "string"},
        "example": '<https://hub.example/api/v1/sessions/?cursor=WyIy…>; rel="next"',
    },
    "IdempotencyReplayed": {
        "description": "`true` where the answer is that of an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    },
    "WWWAuthenticate": {"description": "How to authenticate.", "schema": {"type": "string"}, "example": "Bearer"},
}  # fmt: skip
_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457. Programs compare `type`; people read `detail`.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": [PREFIX + code for code in PROBLEMS]},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "errors": {
            "type": "object",
            "description": "With `invalid`: reasons by field.",
            "additionalProperties": True,
        },
    },
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "Makes a repetition harmless for 24 hours: it gets the first request's answer.",
    "example": "0199b3a0-7c1e-7d41-8f0e-6a51d0c2b7aa",
}


class DescribedSchema(AutoSchema):
    """The framework's, with everything that a caller must know of this API."""

    view: Any

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """The operation, completed."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        keeps = self.method == "POST" and self.view.keeps_answers
        if keeps:
            operation.setdefault("parameters", []).append(_KEY)
        for item in operation.get("parameters", []):
            if item["in"] == "query" and item["schema"].get("type") == "string":
                item["schema"] = {"minLength": 1, **item["schema"]}
        self._complete_answers(operation["responses"], keeps=keeps)
        if "requestBody" in operation:
            _exemplify(operation["requestBody"]["content"])
        self._add_problems(operation, keeps=keeps)
        return operation

    def get_summary(self) -> str:
        """What the view says of its action."""
        return self._said()[0]

    def get_description(self) -> str:  # type: ignore[override]  # the framework calls it so
        """More of it, and the scopes."""
        needed = " and ".join(f"`{scope}`" for scope in self._scopes())
        return f"{self._said()[1]}\n\nScope: {needed}."

    def get_tags(self) -> list[str]:
        """The resource."""
        return [self.path.removeprefix("/api/v1/").split("/")[0]]

    def get_auth(self) -> list[dict[str, list[str]]]:
        """An API key with these scopes, or a console user of that rank."""
        super().get_auth()  # makes the schemes known to the document
        return [{"apiKey": self._scopes()}, {"cookieAuth": []}]

    def _action(self) -> str:
        return str(getattr(self.view, "action", None) or self.method.lower())

    def _said(self) -> tuple[str, str]:
        said: tuple[str, str] = self.view.said[self._action()]
        return said

    def _scopes(self) -> list[str]:
        needed = [READ] if self.method in _SAFE else [WRITE]
        # What the view asks beyond that, only a key that may write has.
        return needed if getattr(self.view, "scope", "") != "keys" or WRITE in needed else [READ, WRITE]

    def _complete_answers(self, responses: dict[str, Any], *, keeps: bool) -> None:
        for answer in responses.values():
            answer["headers"] = dict(_LIMITS)
            if keeps:
                answer["headers"]["Idempotency-Replayed"] = {"$ref": "#/components/headers/IdempotencyReplayed"}
            answer["description"] = answer.get("description") or "Done."
            for content in answer.get("content", {}).values():
                if "Paginated" in content["schema"].get("$ref", ""):
                    answer["headers"]["Link"] = {"$ref": "#/components/headers/Link"}
            _exemplify(answer.get("content", {}))

    def _add_problems(self, operation: dict[str, Any], *, keeps: bool) -> None:
        codes = [*_ALWAYS, *getattr(self.view, "refusals", {}).get(self._action(), ())]
        codes += [*_WITH_BODY] if "requestBody" in operation else []
        codes += [*_ONCE] if keeps else []
        codes += ["not_found"] if "{" in self.path else []
        names = {item["name"] for item in operation.get("parameters", []) if item["in"] == "query"}
        codes += ["invalid"] if names else []
        codes += ["bad_cursor"] if "cursor" in names else []
        by_status: dict[int, list[str]] = {}
        for code in PROBLEMS:
            if code in codes:
                by_status.setdefault(PROBLEMS[code][0], []).append(code)
        for status, found in sorted(by_status.items()):
            operation["responses"][str(status)] = _refused(status, found)


def _refused(status: int, codes: list[str]) -> dict[str, Any]:
    headers: dict[str, Any] = {} if status in (408, 431) else dict(_LIMITS)
    if status in (409, 429, 503):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    if status == 401:
        headers = {"WWW-Authenticate": {"$ref": "#/components/headers/WWWAuthenticate"}}
    examples: dict[str, Any] = {}
    for code in codes:
        value = problem_document(status, PROBLEMS[code][1], code=code)
        if code == "invalid":
            value = {**value, "detail": "Some values are not valid.", "errors": {"name": ["This field is required."]}}
        examples[code] = {"summary": PROBLEMS[code][1], "value": value}
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
    return {
        "description": " ".join(PROBLEMS[c][1] for c in codes),
        "headers": headers,
        "content": {MEDIA_TYPE: content},
    }


def _exemplify(contents: Mapping[str, dict[str, Any]]) -> None:
    for content in contents.values():
        found = _example(content["schema"])
        if found is not None:
            content["example"] = found


def _example(schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "array":
        return [_example(schema["items"])]
    name = schema.get("$ref", "").rpartition("/")[2]
    if name.startswith("Paginated") and name.endswith("List"):
        one = EXAMPLES.get(name.removeprefix("Paginated").removesuffix("List"))
        return {"next": None, "results": [one]}
    return EXAMPLES.get(name)


@lru_cache(maxsize=1)
def openapi() -> dict[str, Any]:
    """The document, made once for each process."""
    with override("en"):
        found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    parts = found["components"]
    parts["schemas"]["Problem"] = _PROBLEM
    parts["headers"] = _HEADERS
    for name, part in parts["schemas"].items():
        if name.endswith("Request"):
            part["additionalProperties"] = False
    return found
