"""Rows about tenants: what they may use, what they used, their keys and members."""

from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from tenants.ids import uuid7
from tenants.owned import TenantOwned

__all__ = [
    "ApiKey",
    "AuditEntry",
    "DataKey",
    "Member",
    "Metric",
    "Period",
    "Plan",
    "PlanQuota",
    "PlatformAudit",
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
        raise ValidationError(_("%(value)r is not a time zone"), params={"value": value}) from None


SHARE = (MinValueValidator(0.0), MaxValueValidator(1.0))


class Metric(models.TextChoices):
    """What is counted. `sessions`: with an inbound message in 30 days; `concurrency`: leased turns."""

    SESSIONS = "sessions", _("sessions in 30 days")
    TOKENS_PER_DAY = "tokens_per_day", _("tokens per day")
    DOCUMENTS = "documents", _("documents")
    STORAGE_BYTES = "storage_bytes", _("storage (bytes)")
    CONCURRENCY = "concurrency", _("turns at once")


class Period(models.TextChoices):
    """When the count starts again: with the tenant's day, never, or by recounting 30 days."""

    DAY = "day", _("a day")
    NONE = "none", _("none")
    ROLLING30 = "rolling30", _("the last 30 days")


class Plan(models.Model):
    """What a class of tenants may use; belongs to nobody, written by migrations and platform staff."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(_("short name"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=80)
    allowed_models = ArrayField(
        models.CharField(max_length=120),
        verbose_name=_("allowed models"),
        default=list,
        blank=True,
        help_text=_("Empty: any model."),
    )
    requests_per_minute = models.IntegerField(default=600, help_text="API requests per key; -1 means no limit.")

    class Meta:
        db_table = "plan"
        verbose_name = _("plan")
        verbose_name_plural = _("plans")

    def __str__(self) -> str:
        return self.name


class PlanQuota(models.Model):
    """A plan's limit of one metric; -1 means no limit."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="quotas", verbose_name=_("plan"))
    metric = models.CharField(_("metric"), max_length=20, choices=Metric.choices)
    limit_value = models.BigIntegerField(_("limit"), help_text=_("-1 is no limit."))
    period = models.CharField(_("period"), max_length=10, choices=Period.choices, default=Period.NONE)
    alert_at = models.FloatField(
        _("alert at"), default=0.8, help_text=_("Share of the limit that raises an alert."), validators=SHARE
    )

    class Meta:
        db_table = "plan_quota"
        verbose_name = _("limit of a plan")
        verbose_name_plural = _("limits of a plan")
        constraints = [models.UniqueConstraint(fields=["plan", "metric"], name="plan_quota_metric_key")]

    def __str__(self) -> str:
        return f"{self.metric}: {self.limit_value}"


class Tenant(models.Model):
    """An organisation. Its rows, this one too, are visible only under its own scope (or an operator's)."""

    class Status(models.TextChoices):
        """A suspended tenant's messages are refused; nothing is deleted."""

        ACTIVE = "active", _("active")
        SUSPENDED = "suspended", _("suspended")

    class Suite(models.TextChoices):
        """Which algorithms seal the tenant's content."""

        AES256GCM = "aes256gcm", "AES-256-GCM, SHA-256"
        SM4GCM = "sm4gcm", "SM4-GCM, SM3"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(_("short name"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=120)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+", verbose_name=_("plan"))
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.ACTIVE)
    zone = models.CharField(
        _("time zone"),
        max_length=64,
        default="UTC",
        validators=[check_zone],
        help_text=_("Time zone in which a day of quota begins."),
    )
    suite = models.CharField(_("encryption"), max_length=12, choices=Suite.choices, default=Suite.AES256GCM)
    language = models.CharField(_("language"), max_length=12, default="en")
    vectors = models.BooleanField(
        _("vectors"),
        db_default=True,
        help_text=_("Memory may store vectors, which stay unencrypted; without them it finds by words."),
    )
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    start = models.JSONField(default=dict, db_default={}, editable=False)
    """Steps of the console's guided start that were taken, each with its time; `away`: it was put away."""

    class Meta:
        db_table = "tenant"
        verbose_name = _("tenant")
        verbose_name_plural = _("tenants")

    def __str__(self) -> str:
        return self.name


class Quota(TenantOwned):
    """A tenant's limit and count of one metric; a row per metric exists from the tenant's creation."""

    metric = models.CharField(_("metric"), max_length=20, choices=Metric.choices)
    limit_value = models.BigIntegerField(_("plan's limit"), help_text=_("From the plan; -1 is no limit."))
    override = models.BigIntegerField(
        _("limit of its own"), null=True, blank=True, help_text=_("Stands in for the plan's limit; -1 is no limit.")
    )
    used = models.BigIntegerField(_("used"), db_default=0)
    reserved = models.BigIntegerField(_("reserved"), db_default=0)
    period = models.CharField(_("period"), max_length=10, choices=Period.choices)
    period_start = models.DateTimeField(_("period began"), db_default=Now())
    alert_at = models.FloatField(
        _("alert at"), default=0.8, help_text=_("Share of the limit that raises an alert."), validators=SHARE
    )
    alerted_at = models.DateTimeField(_("alerted"), null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "quota"
        verbose_name = _("quota")
        verbose_name_plural = _("quotas")
        constraints = [models.UniqueConstraint(fields=["tenant", "metric"], name="quota_tenant_metric_key")]

    def __str__(self) -> str:
        return f"{self.metric}: {self.used}"


class Usage(TenantOwned):
    """One model call's cost; partitioned by the month of its id, never changed."""

    session_id = models.UUIDField(null=True)
    turn_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    kind = models.CharField(_("kind"), max_length=20, help_text=_("reply, retry, summary, embedding"))
    provider = models.CharField(_("provider"), max_length=40)
    model = models.CharField(_("model"), max_length=120)
    input_tokens = models.BigIntegerField(_("input tokens"), default=0)
    output_tokens = models.BigIntegerField(_("output tokens"), default=0)
    cached_tokens = models.BigIntegerField(_("cached tokens"), default=0)
    cost = models.DecimalField(_("cost"), max_digits=18, decimal_places=9, default=Decimal(0))
    estimated = models.BooleanField(
        _("estimated"), default=False, help_text=_("The provider did not say; counted by us.")
    )
    created_at = models.DateTimeField(_("time"), db_default=Now(), editable=False)

    class Meta(TenantOwned.Meta):
        db_table = "usage"
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        indexes = [models.Index(fields=["tenant", "id"], name="usage_tenant_id_idx")]

    def __str__(self) -> str:
        return f"{self.model}: {self.input_tokens}+{self.output_tokens}"


class ApiKey(TenantOwned):
    """A bearer key, of which only the hash is kept."""

    name = models.CharField(_("name"), max_length=80, blank=True)
    agent_id = models.UUIDField(_("agent"), null=True, blank=True, help_text=_("Restricts the key to one agent."))
    prefix = models.CharField(
        _("prefix"), max_length=12, unique=True, help_text=_("Shown, so that a key can be told from others.")
    )
    hash = models.BinaryField(max_length=32, editable=False)
    scopes = ArrayField(models.CharField(max_length=40), verbose_name=_("scopes"), default=list)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "api_key"
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        indexes = [models.Index(fields=["tenant", "id"], name="api_key_tenant_id_idx")]

    def __str__(self) -> str:
        return f"hub_{self.prefix}_…"


class DataKey(TenantOwned):
    """A tenant's key for one purpose, wrapped under the master key. Deleting it makes what it sealed unreadable."""

    purpose = models.CharField(_("purpose"), max_length=20)
    suite = models.CharField(_("encryption"), max_length=12, choices=Tenant.Suite.choices)
    wrapped = models.BinaryField(editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    active_from = models.DateTimeField(
        _("active from"), db_default=Now(), help_text=_("Writes use the newest key that is active.")
    )
    retired_at = models.DateTimeField(
        _("retired"), null=True, blank=True, help_text=_("Nothing is sealed under it any more.")
    )

    class Meta(TenantOwned.Meta):
        db_table = "data_key"
        verbose_name = _("data key")
        verbose_name_plural = _("data keys")
        indexes = [models.Index(fields=["tenant", "purpose"], name="data_key_tenant_purpose_idx")]

    def __str__(self) -> str:
        return f"{self.purpose} {self.id}"


class Member(TenantOwned):
    """A user of the console who belongs to the tenant."""

    class Role(models.TextChoices):
        """Owners manage keys and members, operators talk and configure, viewers read."""

        OWNER = "owner", pgettext_lazy("of a tenant", "owner")
        OPERATOR = "operator", _("operator")
        VIEWER = "viewer", _("viewer")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", verbose_name=_("user")
    )
    role = models.CharField(_("role"), max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(_("since"), db_default=Now(), editable=False)

    class Meta(TenantOwned.Meta):
        db_table = "member"
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="member_tenant_user_key")]

    def __str__(self) -> str:
        return self.user.get_username()


class AuditColumns(models.Model):
    """Who changed what, when, from what to what and why. Written once: the roles may insert and read, nothing else."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created = models.DateTimeField(_("time"), db_default=Now(), editable=False)
    actor = models.CharField(_("who"), max_length=150)
    """The user name as it was then, or what acted (`hub tenant suspend`): accounts may be renamed."""
    actor_id = models.BigIntegerField(null=True, editable=False)
    """The account; empty where no account acted."""
    action = models.CharField(_("action"), max_length=60)
    subject = models.CharField(_("subject"), max_length=40, blank=True, default="")
    """The table of what was changed."""
    subject_id = models.UUIDField(_("subject id"), null=True)
    label = models.CharField(_("name"), max_length=200, blank=True, default="")
    """What people called it then."""
    before = models.JSONField(_("before"), default=dict)
    after = models.JSONField(_("after"), default=dict)
    reason = models.CharField(_("reason"), max_length=500, blank=True, default="")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.actor}: {self.action}"


class AuditEntry(AuditColumns, TenantOwned):
    """A change within a tenant. It outlives what it is about, so deleting a tenant's rows leaves it alone."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )

    class Meta(TenantOwned.Meta):
        db_table = "audit"
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit trail")
        indexes = [
            models.Index(fields=["tenant", "-id"], name="audit_recent"),
            models.Index(fields=["tenant", "subject_id", "-id"], name="audit_of_subject"),
        ]


class PlatformAudit(AuditColumns):
    """A change of what belongs to no tenant: plans, accounts, reading all tenants."""

    class Meta:
        db_table = "platform_audit"
        verbose_name = _("platform audit entry")
        verbose_name_plural = _("platform audit trail")
        indexes = [models.Index(fields=["subject_id", "-id"], name="platform_audit_of_subject")]
