"""Answers kept for a day, so that a request made twice is done once."""

from django.db import models

from tenants.owned import TenantOwned


class KeptAnswer(TenantOwned):
    """What a request with an `Idempotency-Key` was answered."""

    key_hash = models.BinaryField(max_length=32)
    request_hash = models.BinaryField(max_length=32)
    """Of caller, method, address and body: the same key with another is refused."""
    status = models.PositiveSmallIntegerField()
    answer = models.BinaryField()
    """Sealed JSON (purpose `content`): it may hold a new key's only copy."""
    created = models.DateTimeField()

    class Meta(TenantOwned.Meta):
        db_table = "kept_answer"
        constraints = [models.UniqueConstraint(fields=["tenant", "key_hash"], name="kept_answer_once")]
        indexes = [models.Index(fields=["created"], name="kept_answer_age")]
