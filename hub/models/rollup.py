"""What happened in an hour, six hours or a day, counted once, so that no page ever counts messages."""

from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.owned import TenantOwned

BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 45, 60, 120, 300)
"""Upper ends of the latency buckets, in seconds; the last bucket has none. Stored rows depend on them: never change."""
BUCKETS = len(BOUNDS) + 1


class Grain(models.IntegerChoices):
    """The length of a row's period, in hours."""

    HOUR = 1, _("hour")
    QUARTER = 6, _("six hours")
    DAY = 24, _("day")


def no_buckets() -> list[int]:
    """An empty histogram."""
    return [0] * BUCKETS


class Rollup(TenantOwned):
    """Counts of one tenant (without a connection: of all of them) in one period, in UTC.

    Histograms over `BOUNDS` add up, so that a percentile of any period is known to within its bucket.
    """

    grain = models.SmallIntegerField(choices=Grain.choices)
    start = models.DateTimeField()
    connection_id = models.UUIDField(null=True)
    received = models.IntegerField(default=0)
    replies = models.IntegerField(default=0)
    refused = models.IntegerField(default=0)
    turns = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    sent = models.IntegerField(default=0)
    dead = models.IntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=18, decimal_places=9, default=Decimal(0))
    first_token = ArrayField(models.IntegerField(), default=no_buckets)
    """From the message's acceptance to the first word of its answer."""
    whole = ArrayField(models.IntegerField(), default=no_buckets)
    """From the message's acceptance to the committed answer."""

    class Meta(TenantOwned.Meta):
        db_table = "rollup"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "grain", "start", "connection_id"], name="rollup_period", nulls_distinct=False
            )
        ]
        indexes = [models.Index(fields=["grain", "start"], name="rollup_of_all")]
