"""A part of a reply on its way to the platform: the outbox."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.owned import TenantOwned


class DeliveryStatus(models.TextChoices):
    """Where a part stands; `sending` is committed before the network is touched."""

    PENDING = "pending", _("pending")
    SENDING = "sending", _("sending")
    LIVE = "live", _("being written")
    SENT = "sent", _("sent")
    RETRY = "retry", _("waiting for another try")
    UNKNOWN = "unknown", _("outcome unknown")
    DEAD = "dead", _("dead")
    SKIPPED = "skipped", _("skipped after a dead part")


class Delivery(TenantOwned):
    """One part. `position` orders the parts of a session; only the first unsettled one may be sent."""

    session = models.ForeignKey(
        "hub.Session", verbose_name=_("session"), on_delete=models.CASCADE, db_constraint=False, db_index=False
    )
    connection = models.ForeignKey(
        "hub.Connection", verbose_name=_("connection"), on_delete=models.CASCADE, db_constraint=False, db_index=False
    )
    turn_id = models.UUIDField(_("turn"))
    message_id = models.UUIDField(_("message"))
    position = models.BigIntegerField(_("place in the session"))
    part_index = models.IntegerField(_("part"), default=0)
    final = models.BooleanField(_("last part"), default=True)
    status = models.CharField(_("status"), max_length=10, choices=DeliveryStatus.choices)
    attempts = models.IntegerField(_("attempts"), default=0)
    due_at = models.DateTimeField(_("due"), null=True, blank=True)
    expires_at = models.DateTimeField(_("given up after"))
    lease_owner = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    address = models.BinaryField(editable=False)
    """Sealed address (with its reply handle), bound when the turn committed."""
    part = models.BinaryField(editable=False)
    """Sealed part."""
    platform_id = models.CharField(_("platform id"), max_length=200, blank=True, default="")
    platform_extra = models.JSONField(default=dict, blank=True)
    live = models.BooleanField(_("grows while it is written"), default=False)
    """The platform shows it while it is being written; `finish` gives it its last text."""
    receipt = models.CharField(_("receipt"), max_length=10, blank=True, default="")
    detail = models.CharField(_("detail"), max_length=300, blank=True, default="")
    created = models.DateTimeField(_("time"))
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "delivery"
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        indexes = [
            models.Index(fields=["session", "position"], name="delivery_in_session"),
            models.Index(
                fields=["due_at"],
                condition=models.Q(status__in=["pending", "retry", "sending", "live"]),
                name="delivery_due",
            ),
            models.Index(fields=["tenant", "-created"], name="delivery_recent"),
            models.Index(
                fields=["tenant", "-created", "-id"],
                condition=models.Q(status__in=["dead", "unknown", "skipped"]),
                name="delivery_letters",
            ),
            models.Index(
                fields=["connection", "platform_id"], condition=~models.Q(platform_id=""), name="delivery_platform"
            ),
        ]
