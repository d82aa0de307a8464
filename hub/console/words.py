"""Words of models whose packages carry none in other languages."""

from django.utils.translation import gettext_lazy as _

from tenants.models import Metric

METRICS = {
    Metric.SESSIONS: _("sessions in 30 days"),
    Metric.TOKENS_PER_DAY: _("tokens per day"),
    Metric.DOCUMENTS: _("documents"),
    Metric.STORAGE_BYTES: _("storage (bytes)"),
    Metric.CONCURRENCY: _("turns at once"),
}

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
