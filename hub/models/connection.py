"""A tenant's account on a channel."""

import secrets
import string

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.owned import TenantOwned

_ALPHABET = string.ascii_letters + string.digits


class BurstPolicy(models.TextChoices):
    """What happens to messages that arrive while earlier ones wait."""

    MERGE = "merge", _("merge into one turn")
    ENQUEUE = "enqueue", _("one turn per message")


class ConnectionStatus(models.TextChoices):
    """Whether the hub takes and sends messages here."""

    ACTIVE = "active", _("active")
    PAUSED = "paused", _("paused: the platform refused our credentials")
    DISABLED = "disabled", _("disabled")


class OnUnknown(models.TextChoices):
    """What to do with a send whose outcome nobody knows."""

    FLAG = "flag", _("flag it and go on")
    RESEND_ONCE = "resend_once", _("send it once more")


def new_public_id() -> str:
    """142 random bits in letters and digits: the unguessable part of a webhook address.

    No dash: one in front would be read as an option by every command that takes it.
    """
    return "".join(secrets.choice(_ALPHABET) for _ in range(24))


class Connection(TenantOwned):
    """A tenant's account on a channel: sealed credentials, public id in the webhook address, agent and policies."""

    public_id = models.CharField(_("public id"), max_length=32, unique=True, default=new_public_id, editable=False)
    channel = models.CharField(_("channel"), max_length=32)
    name = models.CharField(_("name"), max_length=120)
    agent_id = models.UUIDField(_("agent"))
    secrets = models.BinaryField(editable=False)
    """Sealed JSON of the adapter's Credentials (purpose `credentials`)."""
    burst = models.CharField(_("bursts"), max_length=16, choices=BurstPolicy.choices, default=BurstPolicy.MERGE)
    debounce_ms = models.PositiveIntegerField(_("debounce (ms)"), default=0)
    on_unknown = models.CharField(
        _("on an unknown outcome"), max_length=16, choices=OnUnknown.choices, default=OnUnknown.FLAG
    )
    delivery_window = models.PositiveIntegerField(_("delivery window (s)"), null=True, blank=True)
    allowed_origins = ArrayField(
        models.CharField(max_length=200), verbose_name=_("allowed origins"), default=list, blank=True
    )
    status = models.CharField(
        _("status"), max_length=16, choices=ConnectionStatus.choices, default=ConnectionStatus.ACTIVE
    )
    status_detail = models.CharField(_("why"), max_length=300, blank=True, default="")
    last_event_at = models.DateTimeField(_("last event"), null=True, blank=True, editable=False)
    created = models.DateTimeField(_("created"), auto_now_add=True)
    updated = models.DateTimeField(_("changed"), auto_now=True)

    class Meta(TenantOwned.Meta):
        db_table = "connection"
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        indexes = [models.Index(fields=["tenant", "channel"], name="connection_by_channel")]

    def __str__(self) -> str:
        return self.name if self.name.lower() == self.channel else f"{self.name} ({self.channel})"

    @property
    def webhook_path(self) -> str:
        """Where the platform sends its webhooks."""
        return f"/webhooks/{self.channel}/{self.public_id}"
