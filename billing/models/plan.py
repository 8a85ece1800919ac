from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeBoundary, RangeOperators
from django.db import models

from billing.models.price import TsTzRange
from core import clock
from core.models import Record


class Plan(Record):
    """A subscription that organisations choose, or that operators agree with them (`self_service` false).

    `rank` orders plans: going up holds at once, going down from the next month on.
    """

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=60)
    summary = models.CharField(max_length=200, blank=True)
    rank = models.PositiveSmallIntegerField(unique=True)
    self_service = models.BooleanField(default=True)

    class Meta:
        ordering = ["rank"]

    def __str__(self) -> str:
        return self.name


class PlanVersion(Record):
    """The terms of a plan from a moment on, for everybody or as agreed with one organisation. Immutable.

    Money in minor units of `currency`. `price_minor` is paid per UTC month in advance; `included_minor` of each month's usage is
    the platform's gift. Without a number there is no such limit; `spend_minor` 0 means that priced calls are refused.
    """

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="versions")
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    currency = models.CharField(max_length=3, default="USD")
    price_minor = models.BigIntegerField()
    included_minor = models.BigIntegerField(default=0)
    calls_per_day = models.PositiveBigIntegerField(null=True, blank=True)
    calls_per_month = models.PositiveBigIntegerField(null=True, blank=True)
    calls_hard = models.BooleanField(default=True)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    spend_minor = models.BigIntegerField(null=True, blank=True)
    effective_from = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        ordering = ["plan", "-effective_from"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(price_minor__gte=0, included_minor__gte=0)
                & (models.Q(spend_minor=None) | models.Q(spend_minor__gte=0)),
                name="plan_money_not_negative",
            ),
            models.UniqueConstraint(
                fields=["plan", "tenant", "effective_from"], name="plan_terms_one_at_a_moment", nulls_distinct=False
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan.name}, {self.effective_from:%Y-%m-%d}"


class Subscription(Record):
    """One stretch of time in which an organisation is on the terms of a plan; stretches of one organisation never overlap.

    What has begun is only ever ended. `applied_at` is when gateways were told of the beginning.
    """

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    starts_at = models.DateTimeField(default=clock.now)
    ends_at = models.DateTimeField(null=True, blank=True)
    applied_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        ordering = ["tenant", "starts_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at=None) | models.Q(ends_at__gte=models.F("starts_at")),
                name="subscription_ends_after_it_begins",
            ),
            ExclusionConstraint(
                name="subscription_one_at_a_moment",
                expressions=[
                    ("tenant", RangeOperators.EQUAL),
                    (TsTzRange("starts_at", "ends_at", RangeBoundary()), RangeOperators.OVERLAPS),
                ],
            ),
        ]
