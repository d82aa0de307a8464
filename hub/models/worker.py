"""The processes that run turns, alive as long as they hold their advisory lock."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Worker(models.Model):
    """A process. `lock_key` is the session-level advisory lock it holds on a direct connection while it lives."""

    id = models.UUIDField(primary_key=True)
    lock_key = models.BigIntegerField(unique=True)
    role = models.CharField(_("role"), max_length=16)
    host = models.CharField(_("machine"), max_length=120)
    pid = models.IntegerField(_("process"))
    started_at = models.DateTimeField(_("started"))
    seen_at = models.DateTimeField(_("last seen"))

    class Meta:
        db_table = "worker"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
