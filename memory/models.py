"""What is remembered, as rows. The hot path reads and writes them with plain SQL; Django migrates and shows them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _
from pgvector.django import HalfVectorField

from memory.embeddings.base import DIMENSIONS
from tenants.owned import TenantOwned


class MemoryLine(TenantOwned):
    """One line of a session that no finished summary holds yet, or that continuity keeps in the prompt."""

    session_id = models.UUIDField(_("session"), editable=False)
    subject_id = models.UUIDField(_("subject of memory"), editable=False)
    seq = models.BigIntegerField(_("place"))
    role = models.CharField(_("role"), max_length=16)
    body = models.BinaryField()
    """Speaker and text, sealed."""
    tokens = models.IntegerField(_("tokens"))
    batch_id = models.UUIDField(_("order"), null=True)
    done = models.BooleanField(_("summarised"), default=False)
    """True once a summary holds it: then it is here for continuity only."""
    said_at = models.DateTimeField(_("time"))

    class Meta(TenantOwned.Meta):
        db_table = "memory_line"
        verbose_name = _("memory line")
        verbose_name_plural = _("memory lines")
        constraints = [models.UniqueConstraint(fields=["tenant", "session_id", "seq"], name="memory_line_once")]
        indexes = [models.Index(fields=["tenant", "subject_id"], name="memory_line_subject")]


class MemoryBatch(TenantOwned):
    """A frozen order to summarise a range of lines; its id becomes the summary's."""

    class State(models.TextChoices):
        CLAIMED = "claimed", _("waiting")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    session_id = models.UUIDField(_("session"), editable=False)
    subject_id = models.UUIDField(_("subject of memory"), editable=False)
    first_seq = models.BigIntegerField(_("from"))
    last_seq = models.BigIntegerField(_("to"))
    policy = models.JSONField(_("memory policy"))
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.CLAIMED)
    attempts = models.SmallIntegerField(_("attempts"), default=0)
    due_at = models.DateTimeField(_("due"))
    lease_until = models.DateTimeField(_("leased until"), null=True)
    claimed_at = models.DateTimeField(_("time"))
    finished_at = models.DateTimeField(_("finished"), null=True)
    error = models.CharField(_("error"), max_length=200, default="")

    class Meta(TenantOwned.Meta):
        db_table = "memory_batch"
        verbose_name = _("order to summarise")
        verbose_name_plural = _("orders to summarise")
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(state="claimed"), name="memory_batch_due"),
            models.Index(fields=["tenant", "session_id"], name="memory_batch_session"),
        ]


class Summary(TenantOwned):
    """L3: one fragment of a session, told short, with all its lines packed beside it."""

    session_id = models.UUIDField(_("session"), editable=False)
    subject_id = models.UUIDField(_("subject of memory"), editable=False)
    first_seq = models.BigIntegerField(_("from"))
    last_seq = models.BigIntegerField(_("to"))
    lines = models.IntegerField(_("lines"))
    text = models.BinaryField()
    """Sealed."""
    by_model = models.BooleanField(_("by a model"), default=False)
    """Whether a model wrote the text; else it was chosen from the lines by rules."""
    body = models.BinaryField()
    """The lines themselves, packed and sealed."""
    shelf = models.BinaryField()
    """What ranking needs of each line: int8 vectors and keyed term prints."""
    terms = ArrayField(models.IntegerField())
    """The fragment's distinct term prints, for choosing fragments of a subject that has very many."""
    vector = HalfVectorField(dimensions=DIMENSIONS, null=True)
    """Of the summary's text. Plain by decision: whoever reads the disk learns what it is about, not what it says."""
    embedder = models.CharField(_("embedder"), max_length=120, default="")
    """Which model made the vectors; others never compare with them."""
    superseded_by = models.UUIDField(_("replaced by"), null=True)
    created = models.DateTimeField(_("time"))

    class Meta(TenantOwned.Meta):
        db_table = "summary"
        verbose_name = _("summary")
        verbose_name_plural = _("summaries")
        indexes = [models.Index(fields=["tenant", "subject_id", "id"], name="summary_subject")]
