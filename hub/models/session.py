"""A continuing conversation, and the queue columns by which its turns are leased."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.owned import TenantOwned


class SessionOwner(models.TextChoices):
    """Who answers."""

    AGENT = "agent", _("agent")
    HUMAN = "human", _("human")


class Session(TenantOwned):
    """One conversation. `current` is unique per connection and address; `/new` raises `generation`.

    Queue columns, changed only by the ledger under this row's lock:
    `due_turns` waiting turns; `due_at` when a runner should look (while leased: when the lease ends, so a lease that
    is not renewed becomes due by itself); `next_due_at` what `due_at` becomes at commit; `due_since` the oldest wait;
    `turn_id` the running turn; `fence` rises at claim, take-over, hand-back and cancel; `unsettled` counts deliveries
    under way.
    """

    connection = models.ForeignKey(
        "hub.Connection", verbose_name=_("connection"), on_delete=models.CASCADE, db_constraint=False, db_index=False
    )
    agent_id = models.UUIDField(_("agent"), null=True, blank=True)
    """An agent of its own; empty: the connection's."""
    contact_id = models.UUIDField(_("contact"), null=True, blank=True)
    subject_id = models.UUIDField(_("subject of memory"))
    """Whose long memory this is: a person, else the contact; a group's session is its own subject."""
    address_hash = models.BinaryField(max_length=16, editable=False)
    address = models.BinaryField(editable=False)
    generation = models.PositiveIntegerField(_("generation"), default=1)
    current = models.BooleanField(_("current"), default=True)
    owner = models.CharField(_("owner"), max_length=8, choices=SessionOwner.choices, default=SessionOwner.AGENT)
    title = models.BinaryField(_("title"), null=True, editable=False)
    """Sealed title, made by the agent or the operator."""
    starred = models.BooleanField(_("starred"), default=False)
    archived = models.BooleanField(_("archived"), default=False)

    last_seq = models.BigIntegerField(_("messages"), default=0, editable=False)
    version = models.BigIntegerField(_("version"), default=0, editable=False)
    fence = models.BigIntegerField(_("fence"), default=0, editable=False)
    lease_owner = models.UUIDField(_("leased by"), null=True, editable=False)
    lease_until = models.DateTimeField(_("leased until"), null=True, editable=False)
    turn_id = models.UUIDField(_("running turn"), null=True, editable=False)
    merge = models.BooleanField(default=True, editable=False)
    """The connection's burst policy when it last accepted a message here."""
    merge_due = models.BooleanField(default=False, editable=False)
    """A turn is waiting that takes whatever has arrived by the time it is claimed."""
    due_turns = models.IntegerField(_("waiting turns"), default=0, editable=False)
    due_at = models.DateTimeField(_("due"), null=True, editable=False)
    next_due_at = models.DateTimeField(null=True, editable=False)
    due_since = models.DateTimeField(_("waiting since"), null=True, editable=False)
    delivery_seq = models.BigIntegerField(default=0, editable=False)
    unsettled = models.IntegerField(_("deliveries under way"), default=0, editable=False)
    counted_at = models.DateTimeField(null=True, editable=False)
    """When it last counted towards the tenant's `sessions` quota."""
    refused_at = models.DateTimeField(null=True, editable=False)
    """When the person was last told politely that the quota is used up."""
    last_inbound_at = models.DateTimeField(_("last message"), null=True, editable=False)
    created = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta(TenantOwned.Meta):
        db_table = "session"
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "address_hash"], condition=models.Q(current=True), name="session_current"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "due_at"], condition=models.Q(due_at__isnull=False), name="session_due"),
            models.Index(fields=["lease_owner"], condition=models.Q(lease_owner__isnull=False), name="session_leased"),
            models.Index(fields=["tenant", "-last_inbound_at"], name="session_recent"),
        ]
