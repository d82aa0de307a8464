"""From a provider's refusal to one of our kinds. Texts of providers stay in `detail`, for operators."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from agents.errors import FaultKind, ProviderError

_BY_STATUS: Mapping[int, FaultKind] = {
    400: "bad_request",
    401: "auth",
    402: "auth",
    403: "auth",
    404: "bad_request",
    408: "timeout",
    413: "context_overflow",
    422: "bad_request",
    429: "rate_limited",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
_OVERFLOW = ("context_length", "context length", "maximum context", "too many tokens", "prompt is too long")
_CONTENT = ("content_filter", "content_policy", "data_inspection", "content management policy", "sensitive")
_SPENT = ("insufficient_quota", "billing", "insufficient balance", "arrearage")


def classify_body(status: int, body: object, headers: Mapping[str, str] | None = None) -> ProviderError:
    """The error that an HTTP answer (or an error event inside a stream, status 200) means."""
    error = body.get("error", body) if isinstance(body, dict) else body
    fields: Mapping[str, Any] = error if isinstance(error, dict) else {"message": error}
    code = str(fields.get("code") or "")
    detail = f"{fields.get('type') or ''} {code} {fields.get('message') or ''}".strip()[:500]
    kind = _kind(status if status >= 400 else (int(code) if code.isdigit() else 0), detail.lower())
    return ProviderError(kind, detail, status=status, retry_after=_retry_after(headers or {}))


def _kind(status: int, words: str) -> FaultKind:
    if any(word in words for word in _SPENT):
        return "auth"
    if status in (0, 400, 413, 422):
        if any(word in words for word in _OVERFLOW):
            return "context_overflow"
        if any(word in words for word in _CONTENT):
            return "content"
    if not status and ("rate" in words and "limit" in words):
        return "rate_limited"
    if not status and "overloaded" in words:
        return "overloaded"
    return _BY_STATUS.get(status, "bad_request" if 400 <= status < 500 else "unavailable")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the `retry-after-ms` or `Retry-After` header (RFC 9110: seconds or a date)."""
    exact = headers.get("retry-after-ms")
    if exact and exact.isdigit():
        return int(exact) / 1000
    value = (headers.get("retry-after") or "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
