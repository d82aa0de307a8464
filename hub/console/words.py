"""Words of models whose packages carry none in other languages."""

from typing import Any

from django.utils.translation import gettext_lazy as _

from hub.models import ConnectionStatus, DeliveryStatus, TurnStatus
from tenants.models import Metric

METRICS = {**{metric: metric.label for metric in Metric}, Metric.STORAGE_BYTES: _("storage")}
"""Where amounts are shown with their unit; forms, which take plain numbers, keep the label that names it."""

CONNECTION_STATUS = {
    "active": ("good", _("active")),
    "paused": ("warn", _("paused")),
    "disabled": ("bad", _("disabled")),
}

STATES = {str(key): word for kind in (ConnectionStatus, TurnStatus, DeliveryStatus) for key, word in kind.choices}
"""What states are called where a change of them is told."""

CHANNELS = {
    "api": _("HTTP API"),
    "web": _("Web chat"),
    "webhook": _("Generic signed webhook"),
}
"""Channels whose names are words; brands are called as they call themselves."""

ROLES = {
    "user": _("person"),
    "assistant": _("agent"),
    "system": _("system"),
    "tool": _("tool"),
}
"""Who said something."""

TOOLS = {
    "current_time": _("know what day and what time it is"),
    "offer_replies": _("offer a few short answers to tap"),
    "search_memory": _("search what was said in earlier conversations"),
}
"""What the tools that every hub has are good for; models read other words."""

EFFECTS = {
    "none": _("none"),
    "idempotent": _("may be repeated"),
    "once": _("once only"),
}
"""What a tool does to the world."""

REFUSALS = {
    "sessions": _("the conversations of 30 days are used up"),
    "tokens_per_day": _("the tokens of the day are used up"),
    "suspended": _("the tenant is suspended"),
    "blocked": _("blocked"),
    "superseded": _("said anew"),
    "posted": _("written beside the agent"),
}
"""Why a message was not given to the agent."""

KINDS = {
    "reply": _("an answer"),
    "retry": _("a failed try"),
    "summary": _("a summary"),
    "title": _("a title"),
    "embedding": _("an embedding"),
}
"""What a model was asked for."""

PURPOSES = {
    "content": _("content of conversations"),
    "credentials": _("credentials"),
    "memory": _("memory"),
    "index": _("search index"),
}
"""What data keys are for."""

PROCESSES = {
    "all": _("everything in one"),
    "gateway": _("gateway"),
    "runner": _("runner"),
    "worker": _("background worker"),
    "beat": _("timetable"),
}
"""What a process does."""

PROBES = {
    "served by the hub itself": _("served by the hub itself"),
    "the callback_url accepted a signed ping": _("the callback_url accepted a signed ping"),
    "no callback_url: answers are only in the response": _("no callback_url: answers are only in the response"),
}
"""What our own adapters say of a test; what a platform says is shown as it is."""

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
    "contact.changed": _("a contact was changed"),
    "delivery.dead": _("a delivery is dead"),
    "delivery.retried": _("a delivery was tried again"),
    "delivery.skipped": _("a delivery was skipped"),
    "delivery.unknown": _("nobody knows whether a delivery arrived"),
    "member.set": _("a member was set"),
    "memory.erased": _("memory was erased"),
    "message.posted": _("somebody wrote beside the agent"),
    "message.poison": _("a message could not be stored"),
    "quota.alert": _("a limit is nearly used up"),
    "session.changed": _("a conversation was changed"),
    "turn.dead": _("a turn was given up"),
    "turn.rerun": _("a turn was run again"),
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
    "connection.paused": _("connection paused"),
    "connection.resumed": _("connection resumed"),
    "agent.created": _("agent made"),
    "agent.deleted": _("agent deleted"),
    "api_key.issued": _("API key issued"),
    "api_key.revoked": _("API key revoked"),
    "delivery.purged": _("dead letters purged"),
    "delivery.replayed": _("dead letters sent again"),
    "delivery.skipped": _("delivery skipped"),
    "plan.applied": _("plan applied to its tenants"),
    "tenant.plan_applied": _("new limits of the plan"),
    "turn.rerun": _("turn run again"),
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
    "archived": _("archived"),
    "attempts": _("attempts"),
    "blocked": _("blocked"),
    "by": _("by"),
    "ok": _("worked"),
    "prefix": _("prefix"),
    "role": _("role"),
    "size": _("size"),
    "starred": _("starred"),
    "subject": _("whose memory"),
    "title": _("title"),
    "user": _("user"),
    "was": _("was"),
    "allowed_origins": _("allowed origins"),
    "api_key": _("API key"),
    "blocked_terms": _("blocked terms"),
    "context_tokens": _("tokens of context"),
    "count": _("count"),
    "expires_at": _("expires"),
    "provider": _("provider"),
    "scopes": _("scopes"),
    "tenants": _("tenants"),
    "tools": _("tools"),
    "vectors": _("vectors"),
    **{str(metric): metric.label for metric in Metric},
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
    _("Select value"),
    _("Select action"),
    _("Date"),
    _("Go back"),
    _("Return to site"),
    _("This item will be deleted."),
    _("Click to cancel"),
    _("After you've created a user, you’ll be able to edit more user options."),
    _(
        "Raw passwords are not stored, so there is no way to see this user’s password, but you can change the "
        'password using <a href="{}" class="text-primary-600 dark:text-primary-500">this form</a>.'
    ),
)
"""The admin theme brings no catalogue; its words are looked up in ours."""
