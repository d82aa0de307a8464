"""Words for what a turn does: steps, calls, tools, ends and faults."""

from typing import Any, Final

from django.utils.translation import gettext_lazy as _

NODES: Final[dict[str, Any]] = {
    "check": _("Check the input"),
    "condense": _("Condense a long input"),
    "memory_needed": _("Is memory needed?"),
    "recall": _("Recall"),
    "core": _("Ask the model"),
    "tools": _("Run tools"),
    "summary": _("Close the fragment"),
    "end": _("End"),
}
CONDITIONS: Final[dict[str, Any]] = {
    "refused": _("refused"),
    "oversized": _("too long"),
    "wants_memory": _("yes"),
    "wants_tools": _("wants tools"),
    "client_waits": _("the client runs them"),
    "fragment_full": _("fragment full"),
}
RECALLED: Final[dict[str, Any]] = {
    "line": _("said"),
    "summary": _("summary"),
    "fact": _("fact"),
    "passage": _("passage"),
}
OUTCOMES: Final[dict[str, Any]] = {
    "ok": _("ok"),
    "error": _("error"),
    "skipped": _("skipped"),
    "resumed": _("resumed"),
    "unknown": _("outcome unknown"),
}
FAULTS: Final[dict[str, Any]] = {
    "auth": _("the provider refused the key"),
    "rate_limited": _("too many requests"),
    "overloaded": _("the provider is overloaded"),
    "context_overflow": _("the context is too long"),
    "content": _("the provider's filter refused"),
    "timeout": _("no answer in time"),
    "bad_request": _("the provider does not understand the request"),
    "broken_stream": _("the stream broke off"),
    "unavailable": _("the provider cannot be reached"),
    "cancelled": _("stopped"),
}
DETAILS: Final[dict[str, Any]] = {
    "model": _("model"),
    "output": _("tokens out"),
    "cached": _("cached"),
    "items": _("items"),
    "needed": _("needed"),
    "windows": _("windows"),
    "error": _("error"),
    "tools": _("tools"),
}
RECEIPTS: Final[dict[str, Any]] = {
    "sent": _("sent"),
    "delivered": _("delivered"),
    "read": _("read"),
    "failed": _("failed"),
}
THEME_WORDS: Final = (
    _("No results found"),
    _("This page yielded into no results. Create a new item or reset your filters."),
    _("Select all rows"),
    _("Select Record"),
)
"""Words of the theme's lists, which brings no catalogue."""
