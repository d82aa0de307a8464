"""What was said, partitioned by the month of its id, and the keys that make a redelivery recognisable."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.owned import TenantOwned


class MessageStatus(models.TextChoices):
    """The end of every message: exactly one of these, `accepted` inbound messages being owned by exactly one turn."""

    ACCEPTED = "accepted", _("accepted")
    NOTED = "noted", _("noted, no answer is due")
    REFUSED = "refused", _("refused")
    FINAL = "final", _("sent by us")


class Message(TenantOwned):
    """One stored message. `seq` is the acceptance order within the session; ids and times never decide order."""

    session = models.ForeignKey(
        "hub.Session", verbose_name=_("session"), on_delete=models.CASCADE, db_constraint=False, db_index=False
    )
    seq = models.BigIntegerField(_("place"))
    role = models.CharField(_("role"), max_length=10)
    """user, assistant, system or tool"""
    status = models.CharField(_("status"), max_length=10, choices=MessageStatus.choices)
    reason = models.CharField(_("reason"), max_length=40, blank=True, default="")
    turn_id = models.UUIDField(_("turn"), null=True, blank=True)
    contact_id = models.UUIDField(_("contact"), null=True, blank=True)
    body = models.BinaryField(editable=False)
    """Sealed JSON, see `hub.pipeline.bodies` (purpose `content`)."""
    tokens = models.IntegerField(_("tokens"), default=0)
    model = models.CharField(_("model"), max_length=120, blank=True, default="")
    created = models.DateTimeField(_("time"))

    class Meta(TenantOwned.Meta):
        db_table = "message"
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        indexes = [models.Index(fields=["session", "seq"], name="message_in_session")]


class MessageKey(models.Model):
    """What makes two deliveries of a platform the same message; kept 400 days, never partitioned."""

    pk = models.CompositePrimaryKey("connection_id", "key_hash")
    connection_id = models.UUIDField()
    key_hash = models.BinaryField(max_length=16)
    tenant_id = models.UUIDField()
    message_id = models.UUIDField()
    created = models.DateTimeField()

    class Meta:
        db_table = "message_key"
        # For the daily look at what is too old: rows come in the order of time, so a few pages of summary suffice.
        indexes = [BrinIndex(fields=["created"], name="message_key_created")]
