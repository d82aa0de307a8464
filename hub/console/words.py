"""Words of models whose packages carry none in other languages."""

from typing import Any

from django.utils.translation import gettext_lazy as _

from tenants.models import Metric

METRICS = {metric: metric.label for metric in Metric}

CONNECTION_STATUS = {
    "active": ("good", _("active")),
    "paused": ("warn", _("paused")),
    "disabled": ("bad", _("disabled")),
}

EVENT_NAMES = {
    "agent.changed": _("an agent was changed"),
    "agent.created": _("an agent was made"),
    "agent.deleted": _("an agent was deleted"),
    "api_key.issued": _("an API key was issued"),
    "api_key.revoked": _("an API key was revoked"),
    "connection.changed": _("a connection was changed"),
    "connection.created": _("a connection was made"),
    "connection.deleted": _("a connection was deleted"),
    "connection.paused": _("a connection was paused"),
    "connection.tested": _("a connection was tested"),
    "console.entered": _("platform staff came in"),
    "delivery.dead": _("a delivery is dead"),
    "delivery.retried": _("a delivery was tried again"),
    "delivery.skipped": _("a delivery was skipped"),
    "delivery.unknown": _("nobody knows whether a delivery arrived"),
    "member.set": _("a member was set"),
    "message.poison": _("a message could not be stored"),
    "quota.alert": _("a limit is nearly used up"),
    "session.changed": _("a conversation was changed"),
    "turn.dead": _("a turn was given up"),
}
"""What events are called; types that are not here are shown as they are."""

ACTIONS = {
    "tenant.created": _("tenant made"),
    "tenant.changed": _("tenant changed"),
    "tenant.suspended": _("suspended"),
    "tenant.resumed": _("resumed"),
    "tenant.plan_changed": _("plan changed"),
    "quota.changed": _("limit changed"),
    "plan.changed": _("plan changed"),
    "plan.created": _("plan made"),
    "agent.changed": _("agent changed"),
    "connection.created": _("connection made"),
    "connection.changed": _("connection changed"),
    "connection.deleted": _("connection deleted"),
}
"""What entries of the audit trail are called."""

FIELDS: dict[str, Any] = {
    "agent": _("agent"),
    "alert_at": _("alert at"),
    "base_url": _("address"),
    "language": _("language"),
    "limit_value": _("limit"),
    "model": _("model"),
    "name": _("name"),
    "override": _("limit of its own"),
    "plan": _("plan"),
    "prompt": _("instructions"),
    "status": _("status"),
    "zone": _("time zone"),
    **{str(metric): label for metric, label in METRICS.items()},
}
"""What the fields of audited changes are called."""

MODEL_NAMES = (
    _("agents"),
    _("api keys"),
    _("authentication and Authorization"),
    _("checkpoints"),
    _("data keys"),
    _("hub"),
    _("members"),
    _("memory"),
    _("memory batchs"),
    _("memory lines"),
    _("plans"),
    _("quotas"),
    _("summarys"),
    _("tenants"),
    _("tool calls"),
    _("usages"),
)
"""As Django derives them; `hub.templatetags.console.named` looks them up, in English too."""

THEME_WORDS = (
    _("Filters"),
    _("Previous"),
    _("Next"),
    _("Type to search"),
    _("Select action to run"),
    _("Welcome back to"),
    _("Log in"),
    _("Username"),
    _("Password"),
    _("Reset filters"),
    _("Apply Filters"),
    _("Close"),
    _("Light"),
    _("Dark"),
    _("System"),
    _("Select record"),
    _("Run"),
)
"""The admin theme brings no catalogue; its words are looked up in ours."""
