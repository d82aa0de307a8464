"""What went wrong and what happened, in the reader's words: reasons of deliveries, data of events."""

from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hub.console.drawing import DASH, size, whole
from hub.console.words import FIELDS, METRICS, STATES
from tenants.models import Metric

REASONS: Final[Mapping[str, Any]] = {
    "ContentRefused": gettext_lazy("the platform refuses the content"),
    "CredentialsRevoked": gettext_lazy("the platform refuses the credentials"),
    "NotConnected": gettext_lazy("the platform cannot be reached"),
    "OutcomeUnknown": gettext_lazy("sent, but no answer came"),
    "Permanent": gettext_lazy("the platform refuses"),
    "RateLimited": gettext_lazy("the platform asks to slow down"),
    "RecipientGone": gettext_lazy("the recipient cannot be reached"),
    "Transient": gettext_lazy("the platform has a fault"),
    "Unavailable": gettext_lazy("the platform has a fault"),
    "Unsupported": gettext_lazy("the channel cannot show this"),
    "WindowClosed": gettext_lazy("the platform takes no free answers any more"),
    "no answer": gettext_lazy("no answer came"),
    "unreadable": gettext_lazy("the hub's keys do not open it"),
}
"""The kinds of errors of `channels_adapters.errors`; what the platform itself says follows them as it is."""
_LATE: Final = "; the delivery window is over"


def reason(detail: str) -> str:
    """Why a delivery ended as it did, or a connection was paused."""
    late = detail.endswith(_LATE)
    kind, _colon, said = detail.removesuffix(_LATE).partition(": ")
    words = str(REASONS.get(kind, ""))
    text = (f"{words}: {said}" if said else words) if words else detail.removesuffix(_LATE)
    return f"{text}; {_('the time for it is over')}" if late else text


def event_data(kind: str, data: Mapping[str, Any]) -> str:
    """An event's names, counts and reasons in a line."""
    if kind == "quota.alert" and data.get("metric") in METRICS:
        metric = Metric(data["metric"])
        show = size if metric == Metric.STORAGE_BYTES else whole
        values = {"metric": METRICS[metric], "used": show(data["used"]), "limit": show(data["limit"])}
        return _("%(metric)s: %(used)s of %(limit)s") % values
    parts = []
    for key, value in data.items():
        if key in ("reason", "detail"):
            parts.append(reason(str(value)))
        elif value not in (None, ""):
            parts.append(f"{FIELDS.get(key, key)}: {_plain(key, value)}")
    return " · ".join(parts)[:300] or DASH


def _plain(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return ", ".join(str(FIELDS.get(one, one)) for one in value)
    return str(STATES.get(value, value)) if key == "was" else str(value)
