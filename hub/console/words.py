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
