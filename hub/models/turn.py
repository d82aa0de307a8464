"""One answering pass over messages of a session."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.owned import TenantOwned


class TurnKind(models.TextChoices):
    """What a turn is for."""

    REPLY = "reply", _("reply")
    NOTICE = "notice", _("notice")


class TurnStatus(models.TextChoices):
    """Where a turn stands. Everything below `running` is an end."""

    DUE = "due", _("due")
    RUNNING = "running", _("running")
    FINISHED = "finished", _("finished")
    STOPPED = "stopped", _("stopped")
    FAILED = "failed", _("failed, with a polite answer")
    DEAD = "dead", _("dead")


class Turn(TenantOwned):
    """One pass. `first_seq` and `last_seq` bound what it answers; `fence` is the lease it was last run under."""

    session = models.ForeignKey(
        "hub.Session", verbose_name=_("session"), on_delete=models.CASCADE, db_constraint=False, db_index=False
    )
    kind = models.CharField(_("kind"), max_length=8, choices=TurnKind.choices, default=TurnKind.REPLY)
    status = models.CharField(_("status"), max_length=10, choices=TurnStatus.choices, default=TurnStatus.DUE)
    merge = models.BooleanField(_("merges"), default=True)
    first_seq = models.BigIntegerField(_("first message"))
    last_seq = models.BigIntegerField(_("last message answered"))
    fence = models.BigIntegerField(_("fence"), default=0)
    attempts = models.IntegerField(_("attempts"), default=0)
    reserved = models.BigIntegerField(_("tokens reserved"), default=0)
    """Tokens set aside in the tenant's daily quota while it runs."""
    reason = models.CharField(_("reason"), max_length=40, blank=True, default="")
    model = models.CharField(_("model"), max_length=120, blank=True, default="")
    input_tokens = models.IntegerField(_("tokens in"), default=0)
    output_tokens = models.IntegerField(_("tokens out"), default=0)
    error = models.CharField(_("error"), max_length=500, blank=True, default="")
    """For operators: classified, without message text."""
    partial = models.BinaryField(null=True, editable=False)
    """Sealed text streamed so far, checkpointed each second or 200 tokens."""
    journal = models.BinaryField(null=True, editable=False)
    """Sealed outcome of its finished rounds while more of them follow: where another attempt goes on."""
    trace = models.JSONField(_("trace"), null=True, blank=True)
    """Steps, model calls, tools and recalled items with times and scores (`hub.pipeline.record.trace`); never text."""
    tool_texts = models.BinaryField(null=True, editable=False)
    """Sealed: what its tools were asked and said; null where none ran."""
    created = models.DateTimeField(_("due"))
    started_at = models.DateTimeField(_("claimed"), null=True, blank=True)
    first_token_at = models.DateTimeField(_("first word"), null=True, blank=True)
    finished_at = models.DateTimeField(_("stored"), null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "turn"
        verbose_name = _("turn")
        verbose_name_plural = _("turns")
        indexes = [
            models.Index(fields=["session", "first_seq"], name="turn_in_session"),
            models.Index(fields=["tenant", "-created"], name="turn_recent"),
            models.Index(
                fields=["tenant", "-created", "-id"],
                condition=models.Q(status__in=["dead", "failed"]),
                name="turn_wrong",
            ),
        ]
