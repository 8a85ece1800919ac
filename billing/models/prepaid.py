"""Whether an organisation pays ahead, and what is done when its credit runs low."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Q

from core.models import Record


class Prepayment(Record):
    """How an organisation uses its credit. The credit itself is the ledger's (`L:customer_credit:<organisation>`).

    `is_prepaid`: tools with a price are refused when the credit does not cover them. Below `threshold_minor` its people are
    told and, with `amount_minor`, credit is bought with the saved card: at most `daily_minor` in a day (UTC).

    `counted` is exact major units of usage that invoices have taken over since `epoch` began, so that what gateways count goes
    on when a month is invoiced; `month` is the month that they were last told of.
    """

    tenant = models.OneToOneField("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    is_prepaid = models.BooleanField(default=False)
    threshold_minor = models.BigIntegerField(null=True)
    amount_minor = models.BigIntegerField(null=True)
    daily_minor = models.BigIntegerField(null=True)
    told_at = models.DateTimeField(null=True)
    counted = models.DecimalField(max_digits=38, decimal_places=16, default=Decimal(0))
    epoch = models.PositiveIntegerField(default=0)
    month = models.DateField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor=None, daily_minor=None)
                | Q(threshold_minor__isnull=False, amount_minor__gt=0, daily_minor__gte=models.F("amount_minor")),
                name="prepayment_automatic_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(threshold_minor=None) | Q(threshold_minor__gte=0), name="prepayment_threshold_not_negative"
            ),
        ]
