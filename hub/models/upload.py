"""Files of chat visitors, sealed in pieces, and how far a visitor has read."""

from django.db import models

from tenants.owned import TenantOwned


class UploadStatus(models.TextChoices):
    """Whether all pieces are here."""

    ARRIVING = "arriving"
    READY = "ready"


class Upload(TenantOwned):
    """One file. It is kept once a message names it; what nobody names within a day is deleted."""

    connection_id = models.UUIDField()
    owner = models.BinaryField(max_length=16, editable=False)
    """Keyed hash of the visitor."""
    name = models.BinaryField(editable=False)
    """Sealed file name (purpose `content`)."""
    media_type = models.CharField(max_length=100)
    """What the first bytes say."""
    size = models.BigIntegerField()
    status = models.CharField(max_length=10, choices=UploadStatus.choices)
    key_hash = models.BinaryField(max_length=16, null=True, editable=False)
    """The message key of the message that names it; empty: no message has asked for it yet."""
    created = models.DateTimeField()

    class Meta(TenantOwned.Meta):
        db_table = "upload"
        indexes = [
            models.Index(fields=["connection_id", "created"], name="upload_of_connection"),
            models.Index(fields=["tenant", "created"], name="upload_recent"),
        ]


class UploadChunk(TenantOwned):
    """A piece of a file, at most 128 KiB before it is sealed."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    position = models.IntegerField()
    data = models.BinaryField(editable=False)
    """Sealed bytes (purpose `content`)."""

    class Meta(TenantOwned.Meta):
        db_table = "upload_chunk"
        constraints = [models.UniqueConstraint(fields=["upload", "position"], name="upload_chunk_in_order")]


class ReadMark(TenantOwned):
    """How far the visitor of a session has read, on whatever page; the id is the session's."""

    seq = models.BigIntegerField()
    updated = models.DateTimeField()

    class Meta(TenantOwned.Meta):
        db_table = "read_mark"
