"""What is remembered, as rows. The hot path reads and writes them with plain SQL; Django migrates and shows them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from pgvector.django import HalfVectorField

from memory.embeddings.base import DIMENSIONS
from tenants.owned import TenantOwned


class MemoryLine(TenantOwned):
    """One line of a session that no finished summary holds yet, or that continuity keeps in the prompt."""

    session_id = models.UUIDField(editable=False)
    subject_id = models.UUIDField(editable=False)
    seq = models.BigIntegerField()
    role = models.CharField(max_length=16)
    body = models.BinaryField()
    """Speaker and text, sealed."""
    tokens = models.IntegerField()
    batch_id = models.UUIDField(null=True)
    done = models.BooleanField(default=False)
    """True once a summary holds it: then it is here for continuity only."""
    said_at = models.DateTimeField()

    class Meta(TenantOwned.Meta):
        db_table = "memory_line"
        constraints = [models.UniqueConstraint(fields=["tenant", "session_id", "seq"], name="memory_line_once")]
        indexes = [models.Index(fields=["tenant", "subject_id"], name="memory_line_subject")]


class MemoryBatch(TenantOwned):
    """A frozen order to summarise a range of lines; its id becomes the summary's."""

    class State(models.TextChoices):
        CLAIMED = "claimed"
        DONE = "done"
        FAILED = "failed"

    session_id = models.UUIDField(editable=False)
    subject_id = models.UUIDField(editable=False)
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    policy = models.JSONField()
    state = models.CharField(max_length=8, choices=State, default=State.CLAIMED)
    attempts = models.SmallIntegerField(default=0)
    due_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, default="")

    class Meta(TenantOwned.Meta):
        db_table = "memory_batch"
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(state="claimed"), name="memory_batch_due"),
            models.Index(fields=["tenant", "session_id"], name="memory_batch_session"),
        ]


class Summary(TenantOwned):
    """L3: one fragment of a session, told short, with all its lines packed beside it."""

    session_id = models.UUIDField(editable=False)
    subject_id = models.UUIDField(editable=False)
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    lines = models.IntegerField()
    text = models.BinaryField()
    """Sealed."""
    by_model = models.BooleanField(default=False)
    """Whether a model wrote the text; else it was chosen from the lines by rules."""
    body = models.BinaryField()
    """The lines themselves, packed and sealed."""
    shelf = models.BinaryField()
    """What ranking needs of each line: int8 vectors and keyed term prints."""
    terms = ArrayField(models.IntegerField())
    """The fragment's distinct term prints, for choosing fragments of a subject that has very many."""
    vector = HalfVectorField(dimensions=DIMENSIONS, null=True)
    """Of the summary's text. Plain by decision: whoever reads the disk learns what it is about, not what it says."""
    embedder = models.CharField(max_length=120, default="")
    """Which model made the vectors; others never compare with them."""
    superseded_by = models.UUIDField(null=True)
    created = models.DateTimeField()

    class Meta(TenantOwned.Meta):
        db_table = "summary"
        indexes = [models.Index(fields=["tenant", "subject_id", "id"], name="summary_subject")]
