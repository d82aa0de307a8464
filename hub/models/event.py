"""What happened that an operator may want to read: refusals, faults, take-overs, dead letters."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.owned import TenantOwned


class Event(TenantOwned):
    """One entry. `data` holds names, counts and reasons, never message text or secrets."""

    type = models.CharField(_("type"), max_length=60)
    connection_id = models.UUIDField(_("connection"), null=True, blank=True)
    session_id = models.UUIDField(_("session"), null=True, blank=True)
    turn_id = models.UUIDField(_("turn"), null=True, blank=True)
    delivery_id = models.UUIDField(_("delivery"), null=True, blank=True)
    data = models.JSONField(_("data"), default=dict, blank=True)
    created = models.DateTimeField(_("time"))

    class Meta(TenantOwned.Meta):
        db_table = "event"
        verbose_name = _("event")
        verbose_name_plural = _("events")
        indexes = [
            models.Index(fields=["tenant", "-created"], name="event_recent"),
            models.Index(fields=["turn_id"], condition=models.Q(turn_id__isnull=False), name="event_of_turn"),
            models.Index(
                fields=["delivery_id"], condition=models.Q(delivery_id__isnull=False), name="event_of_delivery"
            ),
        ]
