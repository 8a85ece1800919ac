from __future__ import annotations

from django.db import models
from django.db.models import functions

from calls.record import Outcome


class Call(models.Model):
    """One governed request: who, what, the decision, the outcome and the money. The single log of the product.

    Append-only and partitioned by the month of its UUIDv7 key; the table is made by SQL in the first migration, rows are
    written by `calls.writer` under a role that may only insert. `calls.record.COLUMNS` is the list of columns.
    """

    call_id = models.UUIDField(primary_key=True, editable=False)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=functions.Now())
    api_key_id = models.UUIDField(null=True)
    user_id = models.UUIDField(null=True)
    agent = models.TextField()
    session_id = models.TextField()
    client = models.TextField()
    interface = models.TextField()
    protocol = models.TextField()
    method = models.TextField()
    server_id = models.UUIDField(null=True)
    server_name = models.TextField()
    server_version_id = models.UUIDField(null=True)
    tool = models.TextField()
    arguments_digest = models.TextField()
    allowed = models.BooleanField()
    reason = models.TextField()
    grant_id = models.UUIDField(null=True)
    side_effect = models.TextField()
    trust_required = models.TextField()
    trust_effective = models.TextField()
    policy_revision = models.BigIntegerField()
    outcome = models.TextField(choices=[(o.value, o.value.replace("_", " ")) for o in Outcome])
    http_status = models.IntegerField()
    error = models.TextField()
    attempts = models.IntegerField()
    latency_ms = models.FloatField()
    upstream_ms = models.FloatField()
    request_bytes = models.BigIntegerField()
    response_bytes = models.BigIntegerField()
    provider_id = models.UUIDField(null=True)
    billable = models.BooleanField()
    quantity = models.DecimalField(max_digits=20, decimal_places=6)
    price_version_id = models.UUIDField(null=True)
    quoted_price = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    price = models.DecimalField(max_digits=20, decimal_places=10)
    currency = models.TextField()
    request_id = models.TextField()
    trace_id = models.TextField()
    credential = models.TextField(db_default="")
    client_id = models.TextField(db_default="")
    upstream_auth = models.TextField(db_default="")
    upstream_protocol = models.TextField(db_default="")
    timings = models.TextField(db_default="")
    trust_admin = models.TextField(db_default="")
    trust_consented = models.TextField(db_default="")
    risk = models.TextField(db_default="")
    agent_session_id = models.UUIDField(null=True)
    policy_version = models.TextField(db_default="")
    asserted_human = models.TextField(db_default="")
    # Of `Period`; None for rows from before there were periods, which are never billed.
    period_id = models.IntegerField(null=True)
    approval_id = models.UUIDField(null=True)

    class Meta:
        ordering = ["-call_id"]


class PeriodState(models.TextChoices):
    OPEN = "open", "Open"
    CLOSING = "closing", "Closing"  # its month is over; calls that were under way still join it
    CLOSED = "closed", "Closed"  # no call joins it any more
    INVOICED = "invoiced", "Invoiced"


class Period(models.Model):
    """A month of UTC in which calls are billed together: half-open, apart from the others, its state goes forward only.

    The id is the month, such as 202611. The table is made by SQL with its guards: one period at least is always open.
    """

    id = models.IntegerField(primary_key=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    state = models.TextField(choices=PeriodState.choices, default=PeriodState.OPEN)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.id // 100:04d}-{self.id % 100:02d}"


class UsageDay(models.Model):
    """Successful tool calls of a day of UTC with one key, of one tool at one price: sums that are made again from the log.

    `calls` are all of them, `quantity` the units that are billed; without a price version they are free.
    """

    period_id = models.IntegerField()
    day = models.DateField()
    server_id = models.UUIDField()
    server_name = models.TextField()
    tool = models.TextField()
    provider_id = models.UUIDField(null=True)
    price_version_id = models.UUIDField(null=True)
    api_key_id = models.UUIDField(null=True)
    calls = models.BigIntegerField()
    quantity = models.DecimalField(max_digits=20, decimal_places=6)

    class Meta:
        ordering = ["period_id", "day"]
        constraints = [
            models.UniqueConstraint(
                fields=["period_id", "day", "server_id", "tool", "provider_id", "price_version_id", "api_key_id"],
                name="calls_usageday_once",
                nulls_distinct=False,
            )
        ]
