"""Rows about tenants: what they may use, what they used, their keys and members."""

from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now

from tenants.ids import uuid7
from tenants.owned import TenantOwned

__all__ = [
    "ApiKey",
    "DataKey",
    "Member",
    "Metric",
    "Period",
    "Plan",
    "PlanQuota",
    "Quota",
    "Tenant",
    "TenantOwned",
    "Usage",
]


def check_zone(value: str) -> None:
    """Only zones of the tz database; PostgreSQL knows the same names."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValidationError(f"{value!r} is not a time zone") from None


class Metric(models.TextChoices):
    """What is counted. `sessions`: with an inbound message in 30 days; `concurrency`: leased turns."""

    SESSIONS = "sessions"
    TOKENS_PER_DAY = "tokens_per_day"
    DOCUMENTS = "documents"
    STORAGE_BYTES = "storage_bytes"
    CONCURRENCY = "concurrency"


class Period(models.TextChoices):
    """When the count starts again: with the tenant's day, never, or by recounting 30 days."""

    DAY = "day"
    NONE = "none"
    ROLLING30 = "rolling30"


class Plan(models.Model):
    """What a class of tenants may use; belongs to nobody, written by migrations and platform staff."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    allowed_models = ArrayField(
        models.CharField(max_length=120), default=list, blank=True, help_text="Empty: any model."
    )

    class Meta:
        db_table = "plan"

    def __str__(self) -> str:
        return self.name


class PlanQuota(models.Model):
    """A plan's limit of one metric; -1 means no limit."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="quotas")
    metric = models.CharField(max_length=20, choices=Metric.choices)
    limit_value = models.BigIntegerField()
    period = models.CharField(max_length=10, choices=Period.choices, default=Period.NONE)
    alert_at = models.FloatField(default=0.8, help_text="Share of the limit that raises an alert.")

    class Meta:
        db_table = "plan_quota"
        constraints = [models.UniqueConstraint(fields=["plan", "metric"], name="plan_quota_metric_key")]

    def __str__(self) -> str:
        return f"{self.metric}: {self.limit_value}"


class Tenant(models.Model):
    """An organisation. Its rows, this one too, are visible only under its own scope (or an operator's)."""

    class Status(models.TextChoices):
        """A suspended tenant's messages are refused; nothing is deleted."""

        ACTIVE = "active"
        SUSPENDED = "suspended"

    class Suite(models.TextChoices):
        """Which algorithms seal the tenant's content."""

        AES256GCM = "aes256gcm", "AES-256-GCM, SHA-256"
        SM4GCM = "sm4gcm", "SM4-GCM, SM3"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)
    zone = models.CharField(
        max_length=64, default="UTC", validators=[check_zone], help_text="Time zone in which a day of quota begins."
    )
    suite = models.CharField(max_length=12, choices=Suite.choices, default=Suite.AES256GCM)
    language = models.CharField(max_length=12, default="en")
    vectors = models.BooleanField(
        db_default=True, help_text="Memory may store vectors, which stay unencrypted; without them it finds by words."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "tenant"

    def __str__(self) -> str:
        return self.name


class Quota(TenantOwned):
    """A tenant's limit and count of one metric; a row per metric exists from the tenant's creation."""

    metric = models.CharField(max_length=20, choices=Metric.choices)
    limit_value = models.BigIntegerField(help_text="From the plan; -1 is no limit.")
    override = models.BigIntegerField(null=True, blank=True, help_text="Stands in for the plan's limit.")
    used = models.BigIntegerField(db_default=0)
    reserved = models.BigIntegerField(db_default=0)
    period = models.CharField(max_length=10, choices=Period.choices)
    period_start = models.DateTimeField(db_default=Now())
    alert_at = models.FloatField(default=0.8)
    alerted_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "quota"
        constraints = [models.UniqueConstraint(fields=["tenant", "metric"], name="quota_tenant_metric_key")]

    def __str__(self) -> str:
        return f"{self.metric}: {self.used}"


class Usage(TenantOwned):
    """One model call's cost; partitioned by the month of its id, never changed."""

    session_id = models.UUIDField(null=True)
    turn_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    kind = models.CharField(max_length=20, help_text="chat, summary, embedding, …")
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=120)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=18, decimal_places=9, default=Decimal(0))
    estimated = models.BooleanField(default=False, help_text="The provider did not say; counted by us.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta(TenantOwned.Meta):
        db_table = "usage"
        indexes = [models.Index(fields=["tenant", "id"], name="usage_tenant_id_idx")]

    def __str__(self) -> str:
        return f"{self.model}: {self.input_tokens}+{self.output_tokens}"


class ApiKey(TenantOwned):
    """A bearer key, of which only the hash is kept."""

    name = models.CharField(max_length=80, blank=True)
    agent_id = models.UUIDField(null=True, blank=True, help_text="Restricts the key to one agent.")
    prefix = models.CharField(max_length=12, unique=True, help_text="Shown, so that a key can be told from others.")
    hash = models.BinaryField(max_length=32, editable=False)
    scopes = ArrayField(models.CharField(max_length=40), default=list)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "api_key"
        indexes = [models.Index(fields=["tenant", "id"], name="api_key_tenant_id_idx")]

    def __str__(self) -> str:
        return f"hub_{self.prefix}_…"


class DataKey(TenantOwned):
    """A tenant's key for one purpose, wrapped under the master key. Deleting it makes what it sealed unreadable."""

    purpose = models.CharField(max_length=20)
    suite = models.CharField(max_length=12, choices=Tenant.Suite.choices)
    wrapped = models.BinaryField(editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    active_from = models.DateTimeField(db_default=Now(), help_text="Writes use the newest key that is active.")
    retired_at = models.DateTimeField(null=True, blank=True, help_text="Nothing is sealed under it any more.")

    class Meta(TenantOwned.Meta):
        db_table = "data_key"
        indexes = [models.Index(fields=["tenant", "purpose"], name="data_key_tenant_purpose_idx")]

    def __str__(self) -> str:
        return f"{self.purpose} {self.id}"


class Member(TenantOwned):
    """A user of the console who belongs to the tenant."""

    class Role(models.TextChoices):
        """Owners manage keys and members, operators talk and configure, viewers read."""

        OWNER = "owner"
        OPERATOR = "operator"
        VIEWER = "viewer"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta(TenantOwned.Meta):
        db_table = "member"
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="member_tenant_user_key")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role}"
